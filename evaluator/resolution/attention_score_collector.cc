#include "evaluator/resolution/attention_score_collector.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "base/work_counter.h"
#include "model/attention/packed_heads.h"
#include "model/attention/piecewise_attention.h"
#include "parallel/device_copy.h"

namespace lextra {
namespace {

constexpr int64_t kTileQueries = 256;

ModelConfig InDouble(ModelConfig model) {
  model.set_precision(FP64);
  return model;
}

}  // namespace

// Queries and keys in order of places, without those beyond the document.
struct AttentionScoreCollector::Ordered {
  at::Tensor q_THD;  // undefined for keys of other ranks
  at::Tensor k_TKD;
  at::Tensor places_T;
};

AttentionScoreCollector::AttentionScoreCollector(
    const ModelConfig& model, DeviceMesh& mesh,
    const LongDocumentScorer::Options& options, int64_t num_places)
    : model_(InDouble(model)),
      mesh_(mesh),
      options_(options),
      num_places_(num_places),
      positions_(MakePositionEncoding(model_, num_places / 2, nullptr,
                                      options.angle_scaling)),
      kept_(model.num_layers()) {
  const int64_t heads = model.num_heads() / mesh.tensor().size();
  for (int64_t layer = 0; layer < model.num_layers(); ++layer) {
    means_.emplace_back(heads, num_places);
  }
}

void AttentionScoreCollector::Keep(int64_t layer, const at::Tensor& qkv_BTED,
                                   const at::Tensor& positions_BT) {
  const PackedHeads heads(qkv_BTED,
                          model_.num_kv_heads() / mesh_.tensor().size());
  Kept& kept = kept_[layer];
  kept.q_THD.push_back(heads.q.flatten(0, 1).clone());
  kept.k_TKD.push_back(heads.k.flatten(0, 1).clone());
  kept.places_T.push_back(positions_BT.flatten());
}

void AttentionScoreCollector::FinishDocument() {
  for (size_t layer = 0; layer < kept_.size(); ++layer) {
    const Ordered mine = InOrder(kept_[layer]);
    kept_[layer] = {};
    const Ordered all = GatherKeys(mine);
    RotateKeys(*positions_, all.k_TKD.unsqueeze(0));
    const at::Tensor places = mine.places_T.cpu();
    const int64_t* place = places.const_data_ptr<int64_t>();
    const int64_t count = places.size(0);
    for (int64_t begin = 0; begin < count;) {
      const int64_t last = TileEnd(place[begin]);
      int64_t end = begin + 1;
      while (end < count && place[end] == place[end - 1] + 1 &&
             place[end] < last) {
        ++end;
      }
      AddScores(mine.q_THD.narrow(0, begin, end - begin), place[begin],
                all.k_TKD, &means_[layer]);
      CountWork();
      begin = end;
    }
    mesh_.world().activity().Tick();
  }
}

AttentionScoreCollector::Ordered AttentionScoreCollector::InOrder(
    const Kept& kept) const {
  if (kept.places_T.empty()) {
    const int64_t ranks = mesh_.tensor().size();
    const auto none = [&](int64_t heads) {
      return at::empty({0, heads / ranks, model_.head_dim()},
                       at::TensorOptions(at::kDouble).device(mesh_.device()));
    };
    return {
        none(model_.num_heads()), none(model_.num_kv_heads()),
        at::empty({0}, at::TensorOptions(at::kLong).device(mesh_.device()))};
  }
  const at::Tensor places = at::cat(kept.places_T);
  const at::Tensor order = places.argsort();
  const at::Tensor valid = order.index_select(
      0, (places.index_select(0, order) < num_places_).nonzero().squeeze(1));
  const auto rows = [&](const std::vector<at::Tensor>& parts) {
    return at::cat(parts).index_select(0, valid).to(at::kDouble);
  };
  return {rows(kept.q_THD), rows(kept.k_TKD), places.index_select(0, valid)};
}

// All ranks' keys. Ranks may hold different numbers of places: all send the
// maximum, padded beyond the document.
AttentionScoreCollector::Ordered AttentionScoreCollector::GatherKeys(
    const Ordered& mine) {
  Communicator& axis = mesh_.context();
  const int64_t count = mine.places_T.size(0);
  const at::Tensor most = at::full({1}, count, at::kLong);
  AllReduceOnHost(most, ReduceOp::kMax, axis);
  const int64_t padded = most.item<int64_t>();
  const auto gather = [&](const at::Tensor& part, double padding) {
    std::vector<int64_t> shape = part.sizes().vec();
    shape[0] = padded;
    const at::Tensor sent = at::full(shape, padding, part.options());
    sent.narrow(0, 0, count).copy_(part);
    shape[0] = axis.size() * padded;
    const at::Tensor all = at::empty(shape, part.options());
    axis.AllGather(all, sent);
    return all;
  };
  Kept all;
  all.k_TKD = {gather(mine.k_TKD, 0)};
  all.q_THD = all.k_TKD;  // not needed: only keys are
  all.places_T = {gather(mine.places_T, static_cast<double>(num_places_))};
  Ordered ordered = InOrder(all);
  TORCH_CHECK(ordered.places_T.size(0) == num_places_, "of ", num_places_,
              " places, ", ordered.places_T.size(0), " were kept");
  return ordered;
}

// Scaled scores of queries of consecutive places and the keys that they see.
void AttentionScoreCollector::AddScores(const at::Tensor& q_THD,
                                        int64_t first_query,
                                        const at::Tensor& k_NKD,
                                        DistanceMeans* means) const {
  const int64_t queries = q_THD.size(0);
  const int64_t first_key = options_.mask.FirstKey(first_query);
  const at::Tensor q_1THD = q_THD.unsqueeze(0);
  const at::Tensor rotated = at::empty_like(q_1THD);
  std::vector<at::Tensor> scores_HTS;
  for (const KeyPiece& piece :
       KeyPieces(*positions_, first_key, first_query + queries - first_key)) {
    positions_->Rotate(AttentionRole::kQuery, q_1THD, rotated,
                       first_query - piece.start);
    const at::Tensor keys_SHD =
        k_NKD.narrow(0, first_key + piece.first, piece.count)
            .repeat_interleave(q_THD.size(1) / k_NKD.size(1), 1);
    scores_HTS.push_back(
        at::matmul(rotated[0].transpose(0, 1), keys_SHD.permute({1, 2, 0}))
            .div_(std::sqrt(static_cast<double>(q_THD.size(2)))));
  }
  means->Add(at::cat(scores_HTS, 2), first_query, first_key,
             options_.mask.MaxDistance());
}

// Queries of one tile see keys from the same place on, and none is before the
// start of the last piece of keys.
int64_t AttentionScoreCollector::TileEnd(int64_t query) const {
  const int64_t span = positions_->key_span();
  return std::min({query + kTileQueries, query - query % span + span,
                   options_.mask.KeyRunEnd(query)});
}

at::Tensor AttentionScoreCollector::Means() {
  const int64_t layers = std::ssize(means_);
  const int64_t heads = means_[0].sums().size(0);
  const at::Tensor sums_LHN =
      at::zeros({layers, model_.num_heads(), num_places_}, at::kDouble);
  const at::Tensor counts_N = means_[0].counts().clone();
  for (int64_t layer = 0; layer < layers; ++layer) {
    sums_LHN[layer]
        .narrow(0, mesh_.tensor().rank() * heads, heads)
        .copy_(means_[layer].sums());
  }
  // Each head is on one rank of the tensor axis; every rank counted the pairs.
  AllReduceOnHost(sums_LHN, ReduceOp::kSum, mesh_.tensor());
  for (Communicator* axis : {&mesh_.context(), &mesh_.data()}) {
    AllReduceOnHost(sums_LHN, ReduceOp::kSum, *axis);
    AllReduceOnHost(counts_N, ReduceOp::kSum, *axis);
  }
  const at::Tensor s_LHN = MeanScores(sums_LHN, counts_N);
  // A distance bias is the same for all pairs of one distance.
  const DistanceBias bias = positions_->ScoreBias({}, {});
  if (!bias.slopes_H.defined()) return s_LHN;
  return s_LHN - bias.slopes_H.to(at::kCPU).unsqueeze(1) *
                     at::arange(num_places_, at::kDouble);
}

}  // namespace lextra

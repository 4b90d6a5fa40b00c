#include "evaluator/scoring/long_document_scorer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "base/math.h"
#include "model/attention/attention.h"
#include "parallel/device_copy.h"

// Legend: B documents, T places, P ranks of the context axis, h block.
namespace lextra {
namespace {

// Logits of this many tokens exist at once.
constexpr int64_t kLogitRows = 512;

}  // namespace

// Inputs and targets int64 [B, count] of places begin, begin + 1, ..., and
// these places; the id is 0 beyond the document's end.
struct LongDocumentScorer::Places {
  at::Tensor inputs_BT;
  at::Tensor targets_BT;
  at::Tensor positions_BT;
};

namespace {

// Passes queries and keys to an observer.
class ObservedAttention : public Attention {
 public:
  ObservedAttention(Attention& inner,
                    const LongDocumentScorer::ObserveHeads& observe,
                    const at::Tensor& positions_BT)
      : inner_(inner), observe_(observe), positions_BT_(positions_BT) {}

  at::Tensor operator()(int64_t layer, const at::Tensor& qkv_BTED) override {
    if (observe_) observe_(layer, qkv_BTED, positions_BT_);
    return inner_(layer, qkv_BTED);
  }

 private:
  Attention& inner_;
  const LongDocumentScorer::ObserveHeads& observe_;
  const at::Tensor& positions_BT_;
};

}  // namespace

LongDocumentScorer::LongDocumentScorer(Transformer& model, DeviceMesh& mesh,
                                       Options options)
    : model_(model),
      mesh_(mesh),
      options_(options),
      positions_(MakePositionEncoding(
          model.config(), options.mask.Center(model.config().training_length()),
          &mesh.tensor(), options.angle_scaling)),
      halo_(mesh.context(), model.num_layers()),
      sinks_(mesh.context(), model.num_layers()) {
  TORCH_CHECK(options.mask.is_valid(), "a mask of kind ", options.mask.kind,
              " with block ", options.mask.block, ", window ",
              options.mask.window, ", sinks ", options.mask.sinks);
  TORCH_CHECK(options.segment_tokens > 0, "segments of ",
              options.segment_tokens, " tokens");
}

void LongDocumentScorer::Score(int64_t num_documents, int64_t num_tokens,
                               const ReadTokens& read, const NllSink& sink) {
  if (num_documents == 0 || num_tokens < 2) return;
  const at::NoGradGuard no_gradients;
  const Job job = {num_documents, num_tokens, read, sink};
  if (options_.mask.is_blockwise()) {
    ScoreBlockwise(job);
  } else {
    ScoreCausal(job);
  }
}

at::Tensor LongDocumentScorer::Score(const at::Tensor& tokens_BT) {
  const int64_t num_tokens = tokens_BT.size(1);
  const at::Tensor nll_BT = at::empty(
      {tokens_BT.size(0), std::max<int64_t>(num_tokens - 1, 0)}, at::kDouble);
  Score(
      tokens_BT.size(0), num_tokens,
      [&](int64_t begin, const at::Tensor& part_BT) {
        part_BT.copy_(tokens_BT.narrow(1, begin, part_BT.size(1)));
      },
      [&](int64_t first, const at::Tensor& part_BT) {
        nll_BT.narrow(1, first, part_BT.size(1)).copy_(part_BT);
      });
  return nll_BT;
}

void LongDocumentScorer::ScoreBlockwise(const Job& job) {
  const int64_t num_ranks = mesh_.context().size();
  const int64_t num_targets = job.num_tokens - 1;
  const BlockMask mask =
      options_.mask.Blocks(num_targets, options_.segment_tokens);
  const int64_t h = mask.block;
  const int64_t num_blocks = CeilDivide(num_targets, h);
  const int64_t blocks = BlocksPerSegment(job.num_documents, num_blocks, h);
  const int64_t num_segments = CeilDivide(num_blocks, blocks);
  const int64_t round_places = num_ranks * blocks * h;
  SegmentAttention::Segment segment = {
      .mask = mask,
      .num_documents = job.num_documents,
      .first_block = 0,
      .reach = std::min(mask.Reach(), num_blocks - 1),
      .tail_blocks = 0};
  segment.tail_blocks = std::min(std::max<int64_t>(1, segment.reach), blocks);
  halo_.BeginDocument(num_segments, CeilDivide(segment.reach, blocks));
  sinks_.BeginDocument(num_segments);
  for (int64_t round = 0; round * num_ranks < num_segments; ++round) {
    halo_.BeginRound(round);
    // A rank beyond the last segment has nothing to score, send or receive.
    segment.first_block = halo_.segment() * blocks;
    const int64_t num_mine =
        std::clamp<int64_t>(num_blocks - segment.first_block, 0, blocks);
    const at::Tensor mine_BT =
        at::zeros({job.num_documents, blocks * h},
                  at::TensorOptions(at::kDouble).device(mesh_.device()));
    if (num_mine > 0) {
      mine_BT.narrow(1, 0, num_mine * h)
          .copy_(SegmentNll(job, segment, num_mine));
    }
    const at::Tensor round_BT =
        GatherOverContext(mine_BT).transpose(0, 1).reshape(
            {job.num_documents, round_places});
    const int64_t first = round * round_places;
    job.sink(first, round_BT.narrow(
                        1, 0, std::min(round_places, num_targets - first)));
  }
}

// nll [B, num_blocks * h] of the segment's blocks.
at::Tensor LongDocumentScorer::SegmentNll(
    const Job& job, const SegmentAttention::Segment& segment,
    int64_t num_blocks) {
  const int64_t h = segment.mask.block;
  const auto block_major = [&](const at::Tensor& tokens_BT) {
    return tokens_BT.unflatten(1, {num_blocks, h})
        .transpose(0, 1)
        .reshape({num_blocks * job.num_documents, h});
  };
  const Places places =
      ReadPlaces(job, segment.first_block * h, num_blocks * h);
  SegmentAttention attention(*positions_, model_.num_kv_heads(), segment, halo_,
                             sinks_);
  return Nll(job,
             {block_major(places.inputs_BT), block_major(places.targets_BT),
              block_major(places.positions_BT)},
             attention)
      .view({num_blocks, job.num_documents, h})
      .transpose(0, 1)
      .reshape({job.num_documents, num_blocks * h});
}

void LongDocumentScorer::ScoreCausal(const Job& job) {
  const int64_t num_ranks = mesh_.context().size();
  const int64_t rank = mesh_.context().rank();
  const int64_t chunk = ChunkPlaces(job.num_tokens);
  const Places early = ReadPlaces(job, rank * chunk, chunk);
  const Places late =
      ReadPlaces(job, (2 * num_ranks - 1 - rank) * chunk, chunk);
  RingCausalAttention attention(*positions_, model_.num_kv_heads(),
                                mesh_.context());
  const at::Tensor mine_BT =
      Nll(job,
          {at::cat({early.inputs_BT, late.inputs_BT}, 1),
           at::cat({early.targets_BT, late.targets_BT}, 1),
           at::cat({early.positions_BT, late.positions_BT}, 1)},
          attention);
  // [P, B, 2 chunks]: the early chunks in rank order, then the late ones
  // backwards.
  const at::Tensor all_PBT = GatherOverContext(mine_BT);
  const at::Tensor in_order = at::cat(
      {all_PBT.narrow(2, 0, chunk), all_PBT.narrow(2, chunk, chunk).flip({0})});
  job.sink(0, in_order.transpose(0, 1)
                  .reshape({job.num_documents, 2 * num_ranks * chunk})
                  .narrow(1, 0, job.num_tokens - 1));
}

LongDocumentScorer::Places LongDocumentScorer::ReadPlaces(const Job& job,
                                                          int64_t begin,
                                                          int64_t count) {
  const at::Tensor tokens_BT =
      at::zeros({job.num_documents, count + 1}, at::kLong);
  const int64_t num_read =
      std::clamp<int64_t>(job.num_tokens - begin, 0, count + 1);
  if (num_read > 0) job.read(begin, tokens_BT.narrow(1, 0, num_read));
  const at::Tensor on_device = CopyToDevice(tokens_BT, mesh_.device());
  return {on_device.narrow(1, 0, count), on_device.narrow(1, 1, count),
          at::arange(begin, begin + count, on_device.options())
              .expand({job.num_documents, count})};
}

// [P, B, T] of all ranks, on the host.
at::Tensor LongDocumentScorer::GatherOverContext(const at::Tensor& nll_BT) {
  const at::Tensor all_PBT =
      at::empty({mesh_.context().size(), nll_BT.size(0), nll_BT.size(1)},
                nll_BT.options());
  mesh_.context().AllGather(all_PBT, nll_BT);
  return all_PBT.cpu();
}

at::Tensor LongDocumentScorer::Nll(const Job& job, const Places& places,
                                   Attention& attention) {
  ObservedAttention observed(attention, observe_, places.positions_BT);
  // Padding may take any position; clamp so that learned tables are not
  // overrun.
  const at::Tensor hidden_BTC =
      model_(places.inputs_BT, observed,
             places.positions_BT.clamp_max(job.num_tokens - 2));
  const at::Tensor hidden_NC = hidden_BTC.flatten(0, 1);
  const at::Tensor targets_N = places.targets_BT.reshape(-1);
  const at::Tensor scored_N =
      options_.top1 ? Top1(hidden_NC, targets_N)
                    : model_.cross_entropy().Nll(hidden_NC, targets_N);
  return scored_N.to(at::kDouble).view(places.inputs_BT.sizes());
}

at::Tensor LongDocumentScorer::Top1(const at::Tensor& hidden_NC,
                                    const at::Tensor& targets_N) {
  std::vector<at::Tensor> top1;
  for (int64_t begin = 0; begin < hidden_NC.size(0); begin += kLogitRows) {
    const int64_t rows = std::min(kLogitRows, hidden_NC.size(0) - begin);
    const at::Tensor logits =
        model_.cross_entropy().Logits(hidden_NC.narrow(0, begin, rows));
    const at::Tensor own =
        logits.gather(1, targets_N.narrow(0, begin, rows).unsqueeze(1));
    const at::Tensor most = logits.amax(1);
    top1.push_back((own.squeeze(1) >= most)
                       .to(at::kDouble)
                       .masked_fill_(most.isfinite().logical_not_(),
                                     std::numeric_limits<double>::quiet_NaN()));
  }
  return at::cat(top1);
}

// As few rounds as segment_tokens allows, with shares as equal as whole blocks
// allow, so short documents are distributed too.
int64_t LongDocumentScorer::BlocksPerSegment(int64_t num_documents,
                                             int64_t num_blocks,
                                             int64_t h) const {
  const int64_t most =
      std::max<int64_t>(1, options_.segment_tokens / (h * num_documents));
  const int64_t num_ranks = mesh_.context().size();
  const int64_t num_rounds = CeilDivide(num_blocks, most * num_ranks);
  return CeilDivide(num_blocks, num_rounds * num_ranks);
}

int64_t LongDocumentScorer::ChunkPlaces(int64_t num_tokens) const {
  return CeilDivide(num_tokens - 1, 2 * mesh_.context().size());
}

int64_t LongDocumentScorer::DocumentsAtOnce(int64_t num_tokens) const {
  if (num_tokens < 2) return 1;
  // Places of one document on a rank, if all of it is held at once.
  int64_t places = 2 * ChunkPlaces(num_tokens);
  if (options_.mask.is_blockwise()) {
    const int64_t h =
        options_.mask.Blocks(num_tokens - 1, options_.segment_tokens).block;
    const int64_t blocks = CeilDivide(num_tokens - 1, h);
    places = CeilDivide(blocks, mesh_.context().size()) * h;
  }
  return std::max<int64_t>(1, options_.segment_tokens / places);
}

}  // namespace lextra

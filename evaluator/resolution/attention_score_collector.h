// The mean attention score at each distance, for every layer and head, of
// documents distributed over ranks as the scorer does.
//
// Legend: L layers, H heads of the whole model, N places of a document, E heads
// of the packed tensor (model/attention/packed_heads.h), D head size.
#ifndef LEXTRA_EVALUATOR_RESOLUTION_ATTENTION_SCORE_COLLECTOR_H_
#define LEXTRA_EVALUATOR_RESOLUTION_ATTENTION_SCORE_COLLECTOR_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "config/run.pb.h"
#include "evaluator/resolution/distance_means.h"
#include "evaluator/scoring/long_document_scorer.h"
#include "model/position/position_encoding.h"
#include "parallel/device_mesh.h"

namespace lextra {

class AttentionScoreCollector {
 public:
  // `num_places`: places per document. The mask and the scaled angles are those
  // of `options`. `mesh` outlives this.
  AttentionScoreCollector(const ModelConfig& model, DeviceMesh& mesh,
                          const LongDocumentScorer::Options& options,
                          int64_t num_places);

  // Keeps raw queries and keys of some places of the document
  // (LongDocumentScorer::Observe); positions int64 [B, T]; those of padding are
  // beyond the document.
  void Keep(int64_t layer, const at::Tensor& qkv_BTED,
            const at::Tensor& positions_BT);
  // Call when the document is complete: adds its scores. Collective over the
  // context axis.
  void FinishDocument();

  // s fp64 [L, H, N] over all documents of all ranks; -inf at distances without
  // a visible pair. Collective over the mesh.
  at::Tensor Means();

 private:
  // Rows for places of one layer.
  struct Kept {
    std::vector<at::Tensor> q_THD;
    std::vector<at::Tensor> k_TKD;
    std::vector<at::Tensor> places_T;
  };
  struct Ordered;

  Ordered InOrder(const Kept& kept) const;
  Ordered GatherKeys(const Ordered& mine);
  void AddScores(const at::Tensor& q_THD, int64_t first_query,
                 const at::Tensor& k_NKD, DistanceMeans* means) const;
  int64_t TileEnd(int64_t query) const;

  ModelConfig model_;
  DeviceMesh& mesh_;
  LongDocumentScorer::Options options_;
  int64_t num_places_;
  std::unique_ptr<PositionEncoding> positions_;  // fp64
  std::vector<Kept> kept_;                       // by layer
  std::vector<DistanceMeans> means_;             // of this rank's heads
};

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_RESOLUTION_ATTENTION_SCORE_COLLECTOR_H_

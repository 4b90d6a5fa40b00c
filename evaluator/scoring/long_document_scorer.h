// NLL of every token of documents of any length, distributed over ranks.
//
//   nll[t] = -log p(token t + 1 | tokens up to t that the mask shows)
//
// With a blockwise mask a document is cut into segments of whole blocks,
// assigned round-robin to the P ranks of the context axis: rank r scores
// segment s = round * P + r, with the blocks that it looks back at as halo
// (parallel/context_parallel/halo_exchange.h). A rank holds one segment at a
// time, so memory does not grow with the document, which may be longer than
// memory. The last block is padded at its end; causality makes that harmless.
//
// With any other mask (causal) a document is cut into 2 P chunks, two per rank,
// held at once while keys and values travel around the ring
// (model/attention/attention.h).
//
// The model's parts are split over the tensor axis. No gradients.
#ifndef LEXTRA_EVALUATOR_SCORING_LONG_DOCUMENT_SCORER_H_
#define LEXTRA_EVALUATOR_SCORING_LONG_DOCUMENT_SCORER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "model/attention/attention.h"
#include "model/attention/document_mask.h"
#include "model/position/position_encoding.h"
#include "model/transformer.h"
#include "parallel/context_parallel/halo_exchange.h"
#include "parallel/context_parallel/sink_relay.h"
#include "parallel/device_mesh.h"

namespace lextra {

class LongDocumentScorer {
 public:
  struct Options {
    DocumentMask mask = {};
    // Tokens that a rank holds at once; at least one block of each document
    // scored together.
    int64_t segment_tokens = 0;
    AngleScaling angle_scaling = {};
    // Returns, instead of NLL, 1 for a target whose logit no id exceeds and 0
    // otherwise; NaN if logits are not finite.
    bool top1 = false;
  };

  // Fills tokens [B, n] (each row contiguous) with ids begin .. begin + n - 1
  // of the B documents. A rank requests only what it scores.
  using ReadTokens =
      std::function<void(int64_t begin, const at::Tensor& tokens_BT)>;
  // Takes nll fp64 [B, n] of targets first + 1 .. first + n: called in order,
  // once for every target.
  using NllSink = std::function<void(int64_t first, const at::Tensor& nll_BT)>;

  // Sees raw queries and keys of a layer and their places, int64 [B, T]; those
  // beyond the document's end are padding.
  using ObserveHeads =
      std::function<void(int64_t layer, const at::Tensor& qkv_BTED,
                         const at::Tensor& positions_BT)>;

  // `model` and `mesh` outlive this.
  LongDocumentScorer(Transformer& model, DeviceMesh& mesh, Options options);

  // Scores `num_documents` documents of `num_tokens` tokens each, side by side.
  // All ranks of one data coordinate call this alike and get the same NLL.
  // Fewer than two tokens have no target.
  void Score(int64_t num_documents, int64_t num_tokens, const ReadTokens& read,
             const NllSink& sink);

  // The same for given tokens int64 [B, T]: nll fp64 [B, max(T - 1, 0)].
  at::Tensor Score(const at::Tensor& tokens_BT);

  // From now on `observe` sees every layer's heads, on the rank that has them.
  void Observe(ObserveHeads observe) { observe_ = std::move(observe); }

  // How many documents of that size fill a rank's segment_tokens; at least 1.
  int64_t DocumentsAtOnce(int64_t num_tokens) const;

  const Options& options() const { return options_; }

 private:
  struct Places;
  // The arguments of one Score() call.
  struct Job {
    int64_t num_documents;
    int64_t num_tokens;
    const ReadTokens& read;
    const NllSink& sink;
  };

  void ScoreBlockwise(const Job& job);
  void ScoreCausal(const Job& job);
  at::Tensor SegmentNll(const Job& job,
                        const SegmentAttention::Segment& segment,
                        int64_t num_blocks);
  Places ReadPlaces(const Job& job, int64_t begin, int64_t count);
  at::Tensor GatherOverContext(const at::Tensor& nll);
  at::Tensor Nll(const Job& job, const Places& places, Attention& attention);
  at::Tensor Top1(const at::Tensor& hidden_NC, const at::Tensor& targets_N);
  // Blocks of h places per rank and segment, and places of a chunk.
  int64_t BlocksPerSegment(int64_t num_documents, int64_t num_blocks,
                           int64_t h) const;
  int64_t ChunkPlaces(int64_t num_tokens) const;

  Transformer& model_;
  DeviceMesh& mesh_;
  Options options_;
  std::unique_ptr<PositionEncoding> positions_;
  HaloExchange halo_;
  SinkRelay sinks_;
  ObserveHeads observe_;
};

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_SCORING_LONG_DOCUMENT_SCORER_H_

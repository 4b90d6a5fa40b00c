// Which keys of its document a query sees, as one value (docs/method.md section
// 2). Everything that scoring, attention resolution and results need from a
// mask is a function here, so a new mask is added in this file only.
#ifndef LEXTRA_MODEL_ATTENTION_DOCUMENT_MASK_H_
#define LEXTRA_MODEL_ATTENTION_DOCUMENT_MASK_H_

#include <cstdint>
#include <string>

#include "config/run.pb.h"
#include "model/attention/block_mask.h"

namespace lextra {

struct DocumentMask {
  Mask kind = CAUSAL;
  int64_t block = 0;   // of BCA
  int64_t window = 0;  // of WINDOW and WINDOW_AND_SINKS: keys, with its own
  int64_t sinks = 0;   // of WINDOW_AND_SINKS

  // Whether the sizes fit the kind.
  bool is_valid() const;
  // Whether a document can be scored block by block, each looking back at a
  // bounded number of blocks; otherwise the whole document is held at once.
  bool is_blockwise() const;

  // Maximum number of positions that a query of a document of `num_places`
  // sees.
  int64_t Span(int64_t num_places) const;
  // Half of the positions that a query sees in a long document; for an
  // unbounded mask, half the training length.
  int64_t Center(int64_t training_length) const;
  // Keys that the queries at the first `num_places` places see, summed.
  double VisibleKeys(int64_t num_places) const;

  // Apart from sinks, queries `query` .. KeyRunEnd(query) - 1 see every key
  // from FirstKey(query) up to their own place that is less than MaxDistance()
  // before them, and no others.
  int64_t FirstKey(int64_t query) const;
  int64_t KeyRunEnd(int64_t query) const;
  int64_t MaxDistance() const;

  // The blockwise mask for a document of `num_targets` targets. The block of
  // BCA is given; that of a window is the window, or an equal part of it if a
  // segment of `segment_tokens` is shorter.
  BlockMask Blocks(int64_t num_targets, int64_t segment_tokens) const;

  // "causal", "BCA 64", "window 128", "window 128 and 4 sinks".
  std::string Text() const;

  friend bool operator==(const DocumentMask&, const DocumentMask&) = default;
};

// The mask of that kind with the sizes of `config` (resolved).
DocumentMask MaskOf(Mask kind, const EvaluationConfig& config);

}  // namespace lextra

#endif  // LEXTRA_MODEL_ATTENTION_DOCUMENT_MASK_H_

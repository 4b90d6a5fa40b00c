// Attention resolution of a trained model (docs/method.md section 4): how well
// its expected attention scores distinguish distances, per layer and head.
//
// s[n], the mean score at distance n, is averaged over documents first, and R
// is that of s (evaluator/resolution/distance_means.h). Under a mask the mean
// is over visible pairs, e^s = 0 where there is none, and sinks, whose
// distances are not those of the text, are excluded. Scores are computed in
// fp64 from the queries and keys that the model's layers compute in its
// precision.
#ifndef LEXTRA_EVALUATOR_RESOLUTION_ATTENTION_RESOLUTION_H_
#define LEXTRA_EVALUATOR_RESOLUTION_ATTENTION_RESOLUTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "base/status.h"
#include "config/run.pb.h"
#include "evaluator/results.h"
#include "evaluator/scoring/documents.h"
#include "model/transformer.h"
#include "parallel/device_mesh.h"

namespace lextra {

// InputError if no document is long enough for one of the lengths.
absl::Status CheckResolutionLengths(const Documents& documents,
                                    const EvaluationConfig& config);

// A row for each mask, RoPE scaling and length of
// evaluation.resolution_lengths, over the first tokens of the first
// evaluation.resolution_documents documents that are longer. InputError if
// there is none. Collective over the mesh; the same on all ranks.
absl::StatusOr<std::vector<ResolutionRow>> MeasureResolution(
    Transformer& model, DeviceMesh& mesh, const Documents& documents,
    const EvaluationConfig& config);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_RESOLUTION_ATTENTION_RESOLUTION_H_

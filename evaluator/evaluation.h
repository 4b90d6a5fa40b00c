// The rows of an evaluation: every mask x protocol x length of a configuration.
//
// The pieces of a row are put side by side until they fill the ranks
// (LongDocumentScorer::DocumentsAtOnce), such batches are dealt in turn to the
// coordinates of the data axis, and the sums are added at the end.
#ifndef LEXTRA_EVALUATOR_EVALUATION_H_
#define LEXTRA_EVALUATOR_EVALUATION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "base/status.h"
#include "config/run.pb.h"
#include "evaluator/documents.h"
#include "evaluator/results.h"
#include "model/transformer.h"
#include "parallel/device_mesh.h"

namespace lextra {

// NLL fp64 [n] of targets first + 1 .. first + n of a document, as it comes.
using DocumentNll = std::function<void(int64_t document, int64_t first,
                                       const at::Tensor& nll_T)>;

// Collective over the mesh; rows and status are the same on all ranks. Every
// token is read and checked before the first is scored. `config` is resolved.
// `take`, if given, is called on all ranks of the data coordinate that scored a
// piece.
absl::StatusOr<std::vector<ResultRow>> Evaluate(Transformer& model,
                                                DeviceMesh& mesh,
                                                const Documents& documents,
                                                const EvaluationConfig& config,
                                                const DocumentNll& take = {});

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_EVALUATION_H_

// How many trials of two synthetic tasks (synthetic_trials.h) a model answers.
// A passkey counts if every digit is the most likely byte given those before
// it: the answer of greedy decoding. Each predictable byte of an induction is a
// trial. (Those of one text are not independent, so intervals are too narrow.)
// A target is correct if no byte has a larger logit: ties count.
#ifndef LEXTRA_EVALUATOR_SYNTHETIC_SYNTHETIC_TASKS_H_
#define LEXTRA_EVALUATOR_SYNTHETIC_SYNTHETIC_TASKS_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "config/run.pb.h"
#include "data/tokenizer.h"
#include "evaluator/results.h"
#include "evaluator/scoring/documents.h"
#include "model/transformer.h"
#include "parallel/device_mesh.h"

namespace lextra {

// InputError if no document is long enough to fill a trial of the configured
// tasks, UsageError for a tokenizer whose ids are not bytes and for positions
// that the model does not have. `tokenizer` is the model's; null: not one of
// ours.
absl::Status CheckSyntheticTasks(const Documents& documents,
                                 const Tokenizer* tokenizer,
                                 const ModelConfig& model,
                                 const EvaluationConfig& config);

// evaluation.synthetic_trials trials for each mask, length and depth. The
// trials of a row do not depend on the layout. Errors as above. Collective over
// the mesh; the same on all ranks.
absl::StatusOr<std::vector<SyntheticRow>> RunSyntheticTasks(
    Transformer& model, DeviceMesh& mesh, const Documents& documents,
    const Tokenizer* tokenizer, const EvaluationConfig& config);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_SYNTHETIC_SYNTHETIC_TASKS_H_

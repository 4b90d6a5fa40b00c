// How many trials of two synthetic tasks (synthetic_trials.h) a model answers.
// A passkey counts if every digit is the most likely byte given those before
// it: what greedy decoding would answer. Each byte of an induction that can be
// known is a trial. (Those of one text are not independent: intervals are too
// narrow for that.) A target is right where no byte has a larger logit: ties
// count.
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

// InputError if no document is long enough to fill a trial of the tasks that
// `config` asks for, UsageError for a tokenizer whose ids are not bytes and for
// places that the model does not have. `tokenizer` is the model's; null: not
// one of ours.
absl::Status CheckSyntheticTasks(const Documents& documents,
                                 const Tokenizer* tokenizer,
                                 const ModelConfig& model,
                                 const EvaluationConfig& config);

// Collective over the mesh; the same on all ranks: evaluation.synthetic_trials
// for each mask, length and depth. The trials of a row do not
// depend on the layout. Errors as above.
absl::StatusOr<std::vector<SyntheticRow>> RunSyntheticTasks(
    Transformer& model, DeviceMesh& mesh, const Documents& documents,
    const Tokenizer* tokenizer, const EvaluationConfig& config);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_SYNTHETIC_SYNTHETIC_TASKS_H_

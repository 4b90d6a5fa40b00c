// Two tasks whose answers only far context gives (docs/method.md section 6).
//
//   passkey    Text of the documents with a sentence at some depth that states
//   a
//              key of five digits, and at its end a question for it. A trial
//              counts if every digit is the most likely byte given those before
//              it: what greedy decoding would answer.
//   induction  16 different bytes, text of the documents, and the same 16 bytes
//              once more. Each of the last 15 is a trial. (Those of one text
//              are not independent: intervals are too narrow for that.)
//
// A target is right where no byte has a larger logit: ties count.
//
// Both are in bytes: for models of the byte tokenizer.
#ifndef LEXTRA_EVALUATOR_SYNTHETIC_TASKS_H_
#define LEXTRA_EVALUATOR_SYNTHETIC_TASKS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/run.pb.h"
#include "evaluator/documents.h"
#include "evaluator/results.h"
#include "model/transformer.h"
#include "parallel/device_mesh.h"

namespace lextra {

// Tokens of which those from `first_answer` on are to be predicted.
struct SyntheticTrial {
  std::vector<int64_t> tokens;
  int64_t first_answer = 0;
};

// `filler`: text, at least `length` tokens of it. The key and the bytes are
// drawn from `seed`. Depth 0 is the beginning, 1 just before the question.
SyntheticTrial PasskeyTrial(int64_t length, double depth,
                            const std::vector<int64_t>& filler, uint64_t seed);
SyntheticTrial InductionTrial(int64_t length,
                              const std::vector<int64_t>& filler,
                              uint64_t seed);

// Collective over the mesh; the same on all ranks: evaluation.synthetic_trials
// for each mask, length and depth. The trials of a row do not
// depend on the layout. InputError if no document is long enough to fill one,
// UsageError for another tokenizer than bytes.
absl::StatusOr<std::vector<SyntheticRow>> RunSyntheticTasks(
    Transformer& model, DeviceMesh& mesh, const Documents& documents,
    const std::string& tokenizer, const EvaluationConfig& config);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_SYNTHETIC_TASKS_H_

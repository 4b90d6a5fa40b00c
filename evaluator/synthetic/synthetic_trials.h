// The texts of two tasks whose answers are only in far context (docs/method.md
// section 6).
//
//   passkey    Text of the documents with a sentence at some depth that states
//              a key of five digits, and at its end a question for it.
//   induction  16 different bytes, text of the documents, and the same 16 bytes
//              once more, of which the last 15 can be known.
//
// Both are in bytes: for models of the byte tokenizer.
#ifndef LEXTRA_EVALUATOR_SYNTHETIC_SYNTHETIC_TRIALS_H_
#define LEXTRA_EVALUATOR_SYNTHETIC_SYNTHETIC_TRIALS_H_

#include <cstdint>
#include <vector>

#include "evaluator/scoring/documents.h"

namespace lextra {

inline constexpr int64_t kInductionAnswers = 15;

// Tokens; those from `first_answer` on are to be predicted.
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

// Text for a trial: `length` tokens from a place in one of the given documents,
// both drawn from `seed`. Each document has more tokens.
std::vector<int64_t> TrialFiller(const Documents& documents,
                                 const std::vector<int64_t>& long_documents,
                                 int64_t length, uint64_t seed);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_SYNTHETIC_SYNTHETIC_TRIALS_H_

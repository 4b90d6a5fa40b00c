// The bytes of text that rows score: the denominator of bits per byte.
#ifndef LEXTRA_EVALUATOR_TEXT_BYTES_H_
#define LEXTRA_EVALUATOR_TEXT_BYTES_H_

#include <vector>

#include "base/status.h"
#include "evaluator/scoring/documents.h"
#include "evaluator/scoring/protocol.h"
#include "parallel/communicator.h"

namespace lextra {

struct TextBytes {
  std::vector<double> of_row = {};  // of targets that count; NaN: unknown
  bool are_average = false;         // not exact: TextMeasure
};

// Reads, and so checks, every token of the rows. `averages`: if bytes are only
// known as an average, all documents are read for it, distributed over the
// ranks; otherwise such bytes are NaN. Collective; result and errors are the
// same on all ranks.
absl::StatusOr<TextBytes> CountTextBytes(const Documents& documents,
                                         const std::vector<PlannedRow>& rows,
                                         bool averages, Communicator& world);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_TEXT_BYTES_H_

// The bytes of text that rows score: what bits per byte divide by.
#ifndef LEXTRA_EVALUATOR_TEXT_BYTES_H_
#define LEXTRA_EVALUATOR_TEXT_BYTES_H_

#include <vector>

#include "base/status.h"
#include "evaluator/scoring/documents.h"
#include "evaluator/scoring/protocol.h"
#include "parallel/communicator.h"

namespace lextra {

struct TextBytes {
  std::vector<double> of_row = {};  // targets that count; NaN: not known
  bool are_average = false;         // not exact: TextMeasure
};

// Reads, and so checks, every token of the rows. `averages`: where only an
// average tells bytes, all documents are read for it, dealt to the ranks;
// otherwise such bytes are NaN. Collective; the same on all ranks, errors too.
absl::StatusOr<TextBytes> CountTextBytes(const Documents& documents,
                                         const std::vector<PlannedRow>& rows,
                                         bool averages, Communicator& world);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_TEXT_BYTES_H_

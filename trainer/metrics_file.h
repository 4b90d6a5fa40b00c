// metrics.jsonl when a run starts: one JSON object with a "step" a line, steps
// in order. It may be far larger than memory, so it is read from its end.
#ifndef LEXTRA_TRAINER_METRICS_FILE_H_
#define LEXTRA_TRAINER_METRICS_FILE_H_

#include <cstdint>
#include <string>

#include "base/status.h"

namespace lextra {

// Cuts off the lines of steps after `last_step`, which the run will write
// again, and what a process that died left of its last line. Where no line is
// left to keep, as for a run that starts from scratch, the file is not cut but
// moved to `path`.<date>. Then a file is there. Reads what is cut off and a few
// KiB more; StorageError.
absl::Status KeepLinesUpTo(const std::string& path, int64_t last_step);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_METRICS_FILE_H_

// metrics.jsonl when a run starts: one JSON object with a "step" per line, in
// step order. It may be far larger than memory, so it is read from the end.
#ifndef LEXTRA_TRAINER_METRICS_FILE_H_
#define LEXTRA_TRAINER_METRICS_FILE_H_

#include <cstdint>
#include <string>

#include "base/status.h"

namespace lextra {

// Cuts off the lines of steps after `last_step`, which the run will write
// again, and the partial last line of a process that died. If no line remains,
// as for a run that starts from scratch, the file is renamed to `path`.<date>
// instead. Afterwards the file exists. Reads what is cut off and a few KiB
// more. StorageError.
absl::Status KeepLinesUpTo(const std::string& path, int64_t last_step);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_METRICS_FILE_H_

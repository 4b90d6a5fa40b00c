// The log, for people. Rank 0 logs for the job; other ranks log only errors,
// prefixed with rank and host.
#ifndef LEXTRA_BASE_LOG_H_
#define LEXTRA_BASE_LOG_H_

#include <string>
#include <string_view>

#include "absl/strings/str_format.h"

namespace lextra {

// This process in the log. Set once, after MPI_Init; before that it is rank 0
// of 1.
void SetLogIdentity(int rank, int world_size, std::string host);

int LogRank();

// From now on this rank's lines are also appended to `path` (log.txt of a run,
// which all ranks see), so that it has the reason why a job ended whichever
// rank names it. A line that can't be written there (a full disk) is only on
// stderr.
void SetLogFile(const std::string& path);

// One line on stderr and in the log file, rank 0 only. Results that a person or
// script asked for go to stdout, by PrintResult.
void LogLine(std::string_view line);
void LogError(std::string_view line);  // every rank, "[rank r host h] " if many
void PrintResult(std::string_view text);  // rank 0, stdout, flushed

template <typename... Args>
void LogInfo(const absl::FormatSpec<Args...>& format, const Args&... args) {
  LogLine(absl::StrFormat(format, args...));
}
template <typename... Args>
void LogWarning(const absl::FormatSpec<Args...>& format, const Args&... args) {
  LogLine("warning: " + absl::StrFormat(format, args...));
}
// A common pitfall, and what helps.
template <typename... Args>
void LogHint(const absl::FormatSpec<Args...>& format, const Args&... args) {
  LogLine("--- HINT: " + absl::StrFormat(format, args...));
}

// True if a progress bar makes sense: rank 0 with stderr on a terminal.
bool ProgressIsWelcome();

}  // namespace lextra

#endif  // LEXTRA_BASE_LOG_H_

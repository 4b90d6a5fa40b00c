// Error classes. Files, configuration and environment return an absl::Status up
// to main, which turns it into one line and an exit code. Each constructor
// below is one class: the place that finds an error chooses its exit code.
#ifndef LEXTRA_BASE_STATUS_H_
#define LEXTRA_BASE_STATUS_H_

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"

namespace lextra {

// What the process reports to mpirun and to restart scripts. All codes stay
// below 126, where the shell's own begin.
enum class ExitCode : int {
  kFinished = 0,
  kUsage = 2,          // command line or configuration
  kInput = 3,          // input file or data
  kCheckpoint = 4,     // no usable checkpoint
  kRunFolderHeld = 5,  // run folder in use by another job
  kCommunication = 6,  // lost rank, hang, communication
  kNumeric = 7,        // persistent NaN, replicas that differ
  kStorage = 8,        // full, read-only or failing storage
  kPreempted = 75,     // stopped on request, checkpoint committed
};

// A message may quote names and text from untrusted files, so control
// characters, including newlines (except in a UsageError, which may list
// several problems), are written as \xNN, and messages beyond 4 KiB lose their
// middle.
absl::Status UsageError(std::string_view message);
absl::Status InputError(std::string_view message);
absl::Status CheckpointError(std::string_view message);
// A CheckpointError: the checkpoint is corrupt, so another one may be tried
// instead.
absl::Status DamagedError(std::string_view message);
bool IsDamaged(const absl::Status& status);
absl::Status RunFolderHeldError(std::string_view message);
absl::Status CommunicationError(std::string_view message);
absl::Status NumericError(std::string_view message);
absl::Status StorageError(std::string_view message);
// Not an error: the run was asked to stop and its checkpoint is committed.
absl::Status Preempted(std::string_view message);

// The exit code of a status made by the functions above; kInput for any other.
ExitCode ExitCodeOf(const absl::Status& status);

// `status` with "context: " before its message; an OK status stays OK.
absl::Status WithContext(const absl::Status& status, std::string_view context);

}  // namespace lextra

#define LEXTRA_CONCAT_INNER_(a, b) a##b
#define LEXTRA_CONCAT_(a, b) LEXTRA_CONCAT_INNER_(a, b)

// Returns the status of `expression` from the enclosing function unless OK.
#define LEXTRA_RETURN_IF_ERROR(expression)                            \
  if (absl::Status lextra_status = (expression); !lextra_status.ok()) \
  return lextra_status

// Assigns the value of a StatusOr to `target`, or returns its status.
#define LEXTRA_ASSIGN_OR_RETURN(target, expression)                           \
  LEXTRA_ASSIGN_OR_RETURN_INNER_(LEXTRA_CONCAT_(lextra_status_or_, __LINE__), \
                                 target, expression)
#define LEXTRA_ASSIGN_OR_RETURN_INNER_(status_or, target, expression) \
  auto status_or = (expression);                                      \
  if (!status_or.ok()) return std::move(status_or).status();          \
  target = *std::move(status_or)

#endif  // LEXTRA_BASE_STATUS_H_

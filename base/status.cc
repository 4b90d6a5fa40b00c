#include "base/status.h"

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace lextra {
namespace {

// absl's codes carry our classes; only this file knows the mapping.
constexpr absl::StatusCode kUsageCode = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kInputCode = absl::StatusCode::kDataLoss;
constexpr absl::StatusCode kCheckpointCode =
    absl::StatusCode::kFailedPrecondition;
constexpr absl::StatusCode kDamagedCode = absl::StatusCode::kAborted;
constexpr absl::StatusCode kRunFolderHeldCode =
    absl::StatusCode::kAlreadyExists;
constexpr absl::StatusCode kCommunicationCode = absl::StatusCode::kUnavailable;
constexpr absl::StatusCode kNumericCode = absl::StatusCode::kOutOfRange;
constexpr absl::StatusCode kStorageCode = absl::StatusCode::kResourceExhausted;
constexpr absl::StatusCode kPreemptedCode = absl::StatusCode::kCancelled;

// A long message keeps both ends: who and where, and what was expected.
constexpr size_t kMaxMessageBytes = 4096;
constexpr size_t kKeptEndBytes = 1024;

// Where to cut `text` at or before `place` without splitting a UTF-8 character.
size_t CutBefore(std::string_view text, size_t place) {
  for (int i = 0; i < 3 && (text[place] & 0xC0) == 0x80; ++i) --place;
  return place;
}

std::string FitToPrint(std::string_view message, bool may_have_lines) {
  std::string text;
  for (const char c : message) {
    if (absl::ascii_iscntrl(c) && !(c == '\n' && may_have_lines)) {
      absl::StrAppendFormat(&text, "\\x%02x", c);
    } else {
      text += c;
    }
  }
  if (text.size() <= kMaxMessageBytes) return text;
  const size_t begin = CutBefore(text, kMaxMessageBytes - kKeptEndBytes);
  const size_t end = CutBefore(text, text.size() - kKeptEndBytes);
  return absl::StrCat(text.substr(0, begin), " ... (", end - begin,
                      " bytes omitted) ... ", text.substr(end));
}

absl::Status Make(absl::StatusCode code, std::string_view message) {
  return absl::Status(code, FitToPrint(message, code == kUsageCode));
}

}  // namespace

absl::Status UsageError(std::string_view message) {
  return Make(kUsageCode, message);
}
absl::Status InputError(std::string_view message) {
  return Make(kInputCode, message);
}
absl::Status CheckpointError(std::string_view message) {
  return Make(kCheckpointCode, message);
}
absl::Status DamagedError(std::string_view message) {
  return Make(kDamagedCode, message);
}
bool IsDamaged(const absl::Status& status) {
  return status.code() == kDamagedCode;
}
absl::Status RunFolderHeldError(std::string_view message) {
  return Make(kRunFolderHeldCode, message);
}
absl::Status CommunicationError(std::string_view message) {
  return Make(kCommunicationCode, message);
}
absl::Status NumericError(std::string_view message) {
  return Make(kNumericCode, message);
}
absl::Status StorageError(std::string_view message) {
  return Make(kStorageCode, message);
}
absl::Status Preempted(std::string_view message) {
  return Make(kPreemptedCode, message);
}

ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ExitCode::kFinished;
    case kUsageCode:
      return ExitCode::kUsage;
    case kCheckpointCode:
    case kDamagedCode:
      return ExitCode::kCheckpoint;
    case kRunFolderHeldCode:
      return ExitCode::kRunFolderHeld;
    case kCommunicationCode:
      return ExitCode::kCommunication;
    case kNumericCode:
      return ExitCode::kNumeric;
    case kStorageCode:
      return ExitCode::kStorage;
    case kPreemptedCode:
      return ExitCode::kPreempted;
    default:
      return ExitCode::kInput;
  }
}

absl::Status WithContext(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  return Make(status.code(),
              absl::StrCat(absl::string_view(context.data(), context.size()),
                           ": ", status.message()));
}

}  // namespace lextra

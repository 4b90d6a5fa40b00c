#include "trainer/metrics_file.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/io/files.h"
#include "base/io/open_files.h"
#include "base/log.h"

namespace lextra {
namespace {

constexpr int64_t kBlockBytes = int64_t{1} << 16;
// No line of ours is longer.
constexpr int64_t kMaxLineBytes = int64_t{1} << 20;

// The step of a complete line; nullopt for anything else.
std::optional<int64_t> StepOfLine(const std::string& line) {
  const nlohmann::json object =
      nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains("step") ||
      !object["step"].is_number_integer()) {
    return std::nullopt;
  }
  return object["step"].get<int64_t>();
}

// Finds the lines of a file backwards from its end, block by block.
class LineFinder {
 public:
  explicit LineFinder(const InputFile& file) : file_(file) {}

  // Where the line begins whose last byte, its '\n', is just before `end`.
  absl::StatusOr<int64_t> BeginOfLine(int64_t end) {
    for (int64_t before = end - 1; before > 0; before = block_begin_) {
      LEXTRA_RETURN_IF_ERROR(LoadBefore(before));
      const size_t newline =
          std::string_view(block_).substr(0, before - block_begin_).rfind('\n');
      if (newline != std::string_view::npos) {
        return block_begin_ + static_cast<int64_t>(newline) + 1;
      }
    }
    return 0;
  }

  // The bytes from `begin` to `end`.
  absl::StatusOr<std::string> Read(int64_t begin, int64_t end) const {
    std::string bytes(end - begin, '\0');
    LEXTRA_RETURN_IF_ERROR(file_.Read(
        begin, std::as_writable_bytes(std::span(bytes.data(), bytes.size()))));
    return bytes;
  }

 private:
  // Makes the block hold the byte before `end`.
  absl::Status LoadBefore(int64_t end) {
    if (block_begin_ < end && end <= block_begin_ + std::ssize(block_)) {
      return absl::OkStatus();
    }
    block_begin_ = std::max<int64_t>(0, end - kBlockBytes);
    LEXTRA_ASSIGN_OR_RETURN(block_, Read(block_begin_, end));
    return absl::OkStatus();
  }

  const InputFile& file_;
  std::string block_;
  int64_t block_begin_ = 0;
};

// How many of its first bytes the file keeps: up to the end of the last
// complete line of a step up to `last_step`.
absl::StatusOr<int64_t> BytesToKeep(const InputFile& file, int64_t last_step) {
  LineFinder lines(file);
  // After the last '\n' there is nothing, or a torn line.
  LEXTRA_ASSIGN_OR_RETURN(int64_t end, lines.BeginOfLine(file.size() + 1));
  while (end > 0) {
    LEXTRA_ASSIGN_OR_RETURN(const int64_t begin, lines.BeginOfLine(end));
    if (end - begin <= kMaxLineBytes) {
      LEXTRA_ASSIGN_OR_RETURN(const std::string line, lines.Read(begin, end));
      const std::optional<int64_t> step = StepOfLine(line);
      if (step && *step <= last_step) break;
    }
    end = begin;
  }
  return end;
}

absl::Status MoveAside(const std::string& path, int64_t last_step) {
  const std::string aside = absl::StrCat(path, ".", UtcTimeForNames());
  LEXTRA_RETURN_IF_ERROR(Rename(path, aside));
  LogInfo("%s has no line of the %d completed steps: renamed to %s", path,
          last_step, aside);
  return absl::OkStatus();
}

}  // namespace

absl::Status KeepLinesUpTo(const std::string& path, int64_t last_step) {
  if (std::filesystem::exists(path)) {
    LEXTRA_ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
    LEXTRA_ASSIGN_OR_RETURN(const int64_t kept, BytesToKeep(file, last_step));
    if (kept == 0 && file.size() > 0) {
      LEXTRA_RETURN_IF_ERROR(MoveAside(path, last_step));
    } else if (kept < file.size()) {
      LEXTRA_RETURN_IF_ERROR(TruncateFile(path, kept));
    }
  }
  return AppendToFile(path, "");
}

}  // namespace lextra

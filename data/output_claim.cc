#include "data/output_claim.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/host.h"
#include "base/io/file_lock.h"
#include "base/io/files.h"
#include "base/io/random_id.h"
#include "base/io/system_calls.h"
#include "base/log.h"
#include "data/token_file_names.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;

constexpr char kClaimSuffix[] = ".claim";
constexpr char kRecordBegin[] = "claimed by lextra";
constexpr size_t kIdDigits = 16;
constexpr int kMaxTries = 10;

std::string FolderOf(const std::string& prefix) {
  const std::string folder = fs::path(prefix).parent_path();
  return folder.empty() ? "." : folder;
}

// The beginning of all temporary names: FOLDER/.NAME.
std::string Begin(const std::string& prefix) {
  return absl::StrCat(FolderOf(prefix), "/.",
                      fs::path(prefix).filename().native(), ".");
}

std::string Record() {
  return absl::StrFormat("%s: process %d on host %s\n", kRecordBegin, getpid(),
                         HostName());
}

void RemoveTemporaryFiles(const std::string& stem) {
  for (const char* suffix : kTokenFileSuffixes) {
    sys::Unlink(absl::StrCat(stem, suffix).c_str());
  }
  sys::Unlink(absl::StrCat(stem, kClaimSuffix).c_str());
}

// A new claim's descriptor, locked, or -1 if another process mistook it for
// abandoned before it was locked.
absl::StatusOr<int> MakeClaim(const std::string& path,
                              const std::string& record) {
  const int descriptor = sys::Open(
      path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  const auto error = [&path](const char* action) {
    return StorageError(absl::StrFormat("failed to %s %s: %s", action, path,
                                        std::strerror(errno)));
  };
  if (descriptor < 0) return error("create");
  struct stat status;
  if (LockFile(descriptor) == LockResult::kHeld ||
      fstat(descriptor, &status) != 0 || status.st_nlink == 0) {
    sys::Close(descriptor);
    return -1;
  }
  const ssize_t put = sys::Write(descriptor, record.data(), record.size());
  if (put == std::ssize(record)) return descriptor;
  if (put >= 0) errno = ENOSPC;
  const absl::Status failed = error("write");
  sys::Unlink(path.c_str());
  sys::Close(descriptor);
  return failed;
}

// The stems of all claims of the prefix.
absl::StatusOr<std::vector<std::string>> StemsOf(const std::string& prefix) {
  LEXTRA_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          ListFolder(FolderOf(prefix)));
  const std::string begin = Begin(prefix);
  std::vector<std::string> stems;
  for (const std::string& name : names) {
    const std::string path = absl::StrCat(FolderOf(prefix), "/", name);
    absl::string_view id = path;
    if (absl::ConsumePrefix(&id, begin) &&
        absl::ConsumeSuffix(&id, kClaimSuffix) && id.size() == kIdDigits &&
        id.find_first_not_of("0123456789abcdef") == id.npos) {
      stems.push_back(absl::StrCat(begin, id));
    }
  }
  return stems;
}

std::string ReadRecord(int descriptor) {
  char text[4096];
  const ssize_t got = sys::Pread(descriptor, text, sizeof(text), 0);
  return std::string(text, std::max<ssize_t>(got, 0));
}

// Removes the claim if it is abandoned; otherwise an error.
absl::Status RemoveAbandoned(const std::string& prefix,
                             const std::string& stem) {
  const std::string path = stem + kClaimSuffix;
  const int descriptor =
      sys::Open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0) return absl::OkStatus();  // just gone, or another user's
  const LockResult result = LockFile(descriptor);
  const std::string record = ReadRecord(descriptor);
  // A writer killed before it wrote its record has written no other file
  // either.
  const bool is_ours = record.empty() || record.starts_with(kRecordBegin);
  if (result == LockResult::kTaken && is_ours) {
    RemoveTemporaryFiles(stem);
    LogInfo("removed the temporary files of a dead writer: %s.*", stem);
  }
  sys::Close(descriptor);
  if (result == LockResult::kTaken || !is_ours) return absl::OkStatus();
  const absl::string_view owner = absl::StripSuffix(record, "\n");
  return RunFolderHeldError(absl::StrCat(
      prefix, ": ", owner.empty() ? kRecordBegin : owner,
      "; wait for it to finish, or choose another --output",
      result == LockResult::kHeld
          ? ""
          : absl::StrCat("; this file system has no locks, so remove ", path,
                         " by hand if that process is dead")));
}

}  // namespace

absl::StatusOr<std::unique_ptr<OutputClaim>> OutputClaim::Acquire(
    const std::string& prefix) {
  LEXTRA_RETURN_IF_ERROR(MakeFolders(FolderOf(prefix)));
  std::unique_ptr<OutputClaim> claim;
  for (int i = 0; claim == nullptr; ++i) {
    const std::string stem = Begin(prefix) + DrawId(kIdDigits / 8);
    LEXTRA_ASSIGN_OR_RETURN(const int descriptor,
                            MakeClaim(stem + kClaimSuffix, Record()));
    if (descriptor >= 0) claim.reset(new OutputClaim(stem, descriptor));
    if (descriptor < 0 && i == kMaxTries) {
      return RunFolderHeldError(
          prefix + ": in use by other processes that just started");
    }
  }
  LEXTRA_ASSIGN_OR_RETURN(const std::vector<std::string> stems,
                          StemsOf(prefix));
  for (const std::string& stem : stems) {
    if (stem == claim->stem_) continue;
    LEXTRA_RETURN_IF_ERROR(RemoveAbandoned(prefix, stem));
  }
  return claim;
}

OutputClaim::~OutputClaim() {
  RemoveTemporaryFiles(stem_);
  sys::Close(descriptor_);
}

std::string OutputClaim::TemporaryName(const char* suffix) const {
  return stem_ + suffix;
}

}  // namespace lextra

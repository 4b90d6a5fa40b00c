#include "checkpoint/files/run_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/host.h"
#include "base/io/file_lock.h"
#include "base/io/files.h"
#include "base/io/random_id.h"
#include "base/io/system_calls.h"
#include "base/log.h"

namespace lextra {
namespace {

constexpr int64_t kMaxRecordBytes = 4096;
constexpr auto kPollInterval = std::chrono::milliseconds(50);

std::string LockPath(const std::string& run_folder) {
  return run_folder + "/LOCK";
}

// The first line of a small file of the system; empty if it can't be read.
std::string SystemText(const char* path) {
  char text[512];
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t size = file < 0 ? 0 : read(file, text, sizeof(text));
  if (file >= 0) close(file);
  const std::string all(text, size > 0 ? size : 0);
  return all.substr(0, all.find('\n'));
}

std::string BootId() { return SystemText("/proc/sys/kernel/random/boot_id"); }

// When a process was started, in clock ticks since boot: together with the
// process id this is unique. Empty for a dead process.
std::string StartTicks(const std::string& process) {
  const std::string stat =
      SystemText(absl::StrCat("/proc/", process, "/stat").c_str());
  if (stat.empty()) return "";
  std::istringstream fields(stat.substr(stat.rfind(')') + 1));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  return field;
}

// The scheduler's id of the job.
std::string JobName() {
  for (const char* variable : {"SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"}) {
    if (const char* value = std::getenv(variable)) return value;
  }
  return "none";
}

std::string FieldOf(const std::string& record, const std::string& name) {
  std::istringstream lines(record);
  for (std::string line; std::getline(lines, line);) {
    absl::string_view value = line;
    if (absl::ConsumePrefix(&value, name + ": ")) return std::string(value);
  }
  return "";
}

std::string OwnerOf(const std::string& record) {
  return absl::StrFormat("process %s on host %s, job %s, since %s",
                         FieldOf(record, "process"), FieldOf(record, "host"),
                         FieldOf(record, "job"), FieldOf(record, "since"));
}

// An unreadable record is not an empty one: it may be that of a live owner.
absl::StatusOr<std::string> ReadRecord(const std::string& path) {
  absl::StatusOr<std::string> record = InputError("");
  // A record that is emptied while it is read ends early.
  for (int i = 0; i < 3 && ExitCodeOf(record.status()) == ExitCode::kInput;
       ++i) {
    record = ReadFile(path, kMaxRecordBytes);
  }
  if (!record.ok()) return StorageError(std::string(record.status().message()));
  return record;
}

// Whether the folder's new owner has not yet replaced this record: it is empty,
// or that of a dead process of this host.
bool IsOutdated(const std::string& record) {
  return record.empty() ||
         (FieldOf(record, "boot") == BootId() &&
          FieldOf(record, "start") != StartTicks(FieldOf(record, "process")));
}

struct LockAttempt {
  LockResult result = LockResult::kUnknown;
  std::string record;
};

// An owner without a record has just started or is about to exit: waits for it,
// for a second at most.
absl::StatusOr<LockAttempt> TryLock(const std::string& path, int descriptor) {
  LockAttempt attempt;
  for (int i = 0; i < 20; ++i) {
    attempt.result = LockFile(descriptor);
    LEXTRA_ASSIGN_OR_RETURN(attempt.record, ReadRecord(path));
    if (attempt.result != LockResult::kHeld) break;
    if (!IsOutdated(attempt.record)) break;
    std::this_thread::sleep_for(kPollInterval);
  }
  return attempt;
}

// Whether the record changes within the heartbeat timeout of a live owner. An
// owner that exits meanwhile empties it.
absl::StatusOr<bool> OwnerIsAlive(const std::string& path,
                                  const std::string& record) {
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::duration<double>(kLockStaleSeconds);
  while (std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(kPollInterval);
    LEXTRA_ASSIGN_OR_RETURN(const std::string now, ReadRecord(path));
    if (now != record) return !now.empty();
  }
  return false;
}

}  // namespace

RunLock::RunLock(Place place, int descriptor)
    : place_(std::move(place)),
      descriptor_(descriptor),
      since_(UtcTime()),
      nonce_(DrawId(2)) {}

absl::StatusOr<std::unique_ptr<RunLock>> RunLock::Acquire(
    const std::string& run_folder, const std::string& run_id) {
  LEXTRA_ASSIGN_OR_RETURN(
      std::unique_ptr<RunLock> lock,
      Acquire({run_folder, LockPath(run_folder), "--run_dir"}));
  LEXTRA_RETURN_IF_ERROR(lock->TakeName(run_id));
  LEXTRA_RETURN_IF_ERROR(lock->StartBeating());
  return lock;
}

absl::StatusOr<std::unique_ptr<RunLock>> RunLock::AcquireResults(
    const std::string& folder) {
  LEXTRA_ASSIGN_OR_RETURN(
      std::unique_ptr<RunLock> lock,
      Acquire({folder, folder + "/results.lock", "--results_dir"}));
  LEXTRA_RETURN_IF_ERROR(lock->StartBeating());
  return lock;
}

absl::Status RunLock::HeldBy(const Place& place, const std::string& record) {
  return RunFolderHeldError(absl::StrFormat(
      "%s: in use by a running job (%s); wait for it to finish, or choose "
      "another %s",
      place.folder, OwnerOf(record), place.flag));
}

absl::StatusOr<std::unique_ptr<RunLock>> RunLock::Acquire(const Place& place) {
  const std::string& path = place.path;
  int descriptor = -1;
  do {
    descriptor = sys::Open(path.c_str(),
                           O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) {
    return StorageError(
        absl::StrFormat("failed to open %s: %s", path, std::strerror(errno)));
  }
  std::unique_ptr<RunLock> lock(new RunLock(place, descriptor));
  LEXTRA_ASSIGN_OR_RETURN(const LockAttempt attempt, TryLock(path, descriptor));
  const auto& [result, record] = attempt;
  if (result == LockResult::kHeld) return HeldBy(place, record);
  // This system knows the locks of its own host; those of others it may not.
  const bool may_be_elsewhere =
      result == LockResult::kUnknown || FieldOf(record, "boot") != BootId();
  if (!record.empty() && may_be_elsewhere) {
    LEXTRA_ASSIGN_OR_RETURN(const bool alive, OwnerIsAlive(path, record));
    if (alive) return HeldBy(place, record);
  }
  lock->is_owner_ = true;
  lock->EmptyRecord();  // the dead owner must not be mistaken for this one
  if (!record.empty()) {
    LogInfo("%s: taken over from a dead job (%s)", place.folder,
            OwnerOf(record));
  }
  return lock;
}

absl::Status RunLock::TakeName(const std::string& run_id) {
  const std::string path = place_.folder + "/RUN_ID";
  std::error_code error;
  const bool exists = std::filesystem::exists(path, error);
  if (error) return StorageError(absl::StrCat(path, ": ", error.message()));
  if (!exists) {
    run_id_ = run_id.empty() ? DrawId(2) : run_id;
    return AtomicWrite(path, run_id_ + "\n");
  }
  LEXTRA_ASSIGN_OR_RETURN(const std::string text,
                          ReadFile(path, kMaxRecordBytes));
  run_id_ = std::string(absl::StripSuffix(text, "\n"));
  if (run_id.empty() || run_id == run_id_) return absl::OkStatus();
  return UsageError(absl::StrFormat(
      "%s: belongs to run '%s', but checkpoint.run_id = '%s'; choose another "
      "--run_dir, or omit checkpoint.run_id",
      place_.folder, run_id_, run_id));
}

absl::Status RunLock::StartBeating() {
  if (!WriteRecord()) {
    return StorageError(absl::StrFormat("failed to write %s: %s", place_.path,
                                        std::strerror(errno)));
  }
  try {
    if (sys::MayStartThread() != 0) {
      throw std::system_error(errno, std::generic_category());
    }
    beat_ = std::thread([this] { Beat(); });
  } catch (const std::system_error& error) {
    return StorageError(absl::StrFormat(
        "failed to start the heartbeat thread of %s: %s; raise this user's "
        "process limit (ulimit -u, the control group's pids.max)",
        place_.path, error.what()));
  }
  return absl::OkStatus();
}

bool RunLock::WriteRecord() {
  const std::string record = absl::StrFormat(
      "host: %s\nprocess: %d\nstart: %s\nboot: %s\njob: %s\nsince: %s\n"
      "run: %s\nnonce: %s\ncounter: %020d\n",
      HostName(), getpid(), StartTicks("self"), BootId(), JobName(), since_,
      run_id_, nonce_, counter_);
  // In place: the lock is on this file.
  if (lseek(descriptor_, 0, SEEK_SET) != 0) return false;
  for (size_t done = 0; done < record.size();) {
    const ssize_t put =
        sys::Write(descriptor_, record.data() + done, record.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    done += put;
  }
  return ftruncate(descriptor_, static_cast<off_t>(record.size())) == 0;
}

void RunLock::EmptyRecord() {
  if (ftruncate(descriptor_, 0) == 0) return;
  LogWarning("failed to empty %s: %s", place_.path, std::strerror(errno));
}

void RunLock::Beat() {
  std::unique_lock<std::mutex> guard(mutex_);
  while (!end_.wait_for(guard, std::chrono::duration<double>(kLockBeatSeconds),
                        [this] { return ending_; })) {
    ++counter_;
    // The next heartbeat makes up for one that can't be written.
    WriteRecord();
  }
}

RunLock::~RunLock() {
  if (beat_.joinable()) {
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      ending_ = true;
    }
    end_.notify_all();
    beat_.join();
  }
  if (is_owner_) EmptyRecord();  // free
  sys::Close(descriptor_);       // and with it the lock
}

absl::StatusOr<std::string> ReadLockNonce(const std::string& run_folder) {
  LEXTRA_ASSIGN_OR_RETURN(const std::string record,
                          ReadFile(LockPath(run_folder), kMaxRecordBytes));
  return FieldOf(record, "nonce");
}

}  // namespace lextra

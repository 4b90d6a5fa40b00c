// Ownership of a run folder or a results folder: one job at a time writes to
// it.
//
//   RUN/LOCK     locked (open file description lock) by rank 0 of the job that
//                owns the folder, and its record: host, process, boot, job,
//                nonce and a counter that a thread raises; empty when free
//   RUN/RUN_ID   the name of the run, drawn when its folder is created
//
// A results folder has results.lock instead of LOCK, and no name: it may also
// be a run folder.
//
// The system drops the lock of a process that dies, so a dead job's folder is
// immediately free on its host. Where locks don't work across hosts the record
// does: an owner on another host counts as dead once its counter, a heartbeat,
// has not changed for some seconds of our own clock. Without LibTorch.
#ifndef LEXTRA_CHECKPOINT_FILES_RUN_LOCK_H_
#define LEXTRA_CHECKPOINT_FILES_RUN_LOCK_H_

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/status.h"

namespace lextra {

inline constexpr double kLockBeatSeconds = 0.5;
// An owner on another host without a heartbeat for this long is dead.
inline constexpr double kLockStaleSeconds = 5;

class RunLock {
 public:
  // Takes the folder, which exists. `run_id`: the name that the run must have
  // (UsageError if it has another), or empty for any. RunFolderHeldError names
  // the owner; StorageError if the folder can't be written, LOCK can't be read,
  // or no thread can be started.
  static absl::StatusOr<std::unique_ptr<RunLock>> Acquire(
      const std::string& run_folder, const std::string& run_id);

  // Takes a results folder, which exists. Errors as above.
  static absl::StatusOr<std::unique_ptr<RunLock>> AcquireResults(
      const std::string& folder);

  RunLock(const RunLock&) = delete;
  // Frees the folder.
  ~RunLock();

  const std::string& run_id() const { return run_id_; }
  // Unique to this lock's record: a rank that reads it sees the same folder.
  const std::string& nonce() const { return nonce_; }

 private:
  // What is locked, and which flag names its folder.
  struct Place {
    std::string folder;
    std::string path;
    std::string flag;
  };

  RunLock(Place place, int descriptor);

  // Takes the lock, but not the name of a run.
  static absl::StatusOr<std::unique_ptr<RunLock>> Acquire(const Place& place);
  static absl::Status HeldBy(const Place& place, const std::string& record);
  absl::Status TakeName(const std::string& run_id);
  absl::Status StartBeating();
  bool WriteRecord();
  void EmptyRecord();
  void Beat();

  Place place_;
  int descriptor_;
  bool is_owner_ = false;
  std::string since_;
  std::string nonce_;
  std::string run_id_;
  int64_t counter_ = 0;
  std::mutex mutex_;
  std::condition_variable end_;
  bool ending_ = false;
  std::thread beat_;
};

// The nonce in RUN/LOCK: equal on all hosts that see the owner's folder.
absl::StatusOr<std::string> ReadLockNonce(const std::string& run_folder);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_FILES_RUN_LOCK_H_

// The system calls on files that lextra makes, and the start of threads, behind
// named functions, so that tests can make any of them fail. Arguments, results
// and errno are those of the calls of the same name; nothing is retried here.
//
// Faults come from the environment variable LEXTRA_FAULTS (read once, at the
// first call) or from a test's ScopedFaults: rules separated by ';', each
//
//   OPERATION:FIRST[-LAST]:EFFECT[:path=TEXT][:rank=R]
//
//   OPERATION  open read write truncate fsync close rename unlink rmdir mkdir
//              list statvfs thread, or * for any; or @NAME for a kill point,
//              which only supports kill and delay
//   FIRST-LAST the calls that it hits, counted from 1 among those that match
//              operation, path and rank; without LAST one call; "3-" from the
//              third on
//   EFFECT     EIO ENOSPC EDQUOT ESTALE EINTR EROFS EAGAIN: the call fails so;
//              short: a write (read) moves half of its bytes; other calls are
//              unaffected;
//              flip: a read returns its bytes with one bit flipped, as from a
//              device that corrupts data; other calls are unaffected;
//              delay=S: the call is made S seconds later;
//              kill: the process dies there by SIGKILL
//   path=TEXT  only calls on paths that contain TEXT (calls on descriptors: the
//              path that was opened)
//   rank=R     only on this rank (base/log.h)
//
// Without rules a call costs one extra load and branch.
#ifndef LEXTRA_BASE_IO_SYSTEM_CALLS_H_
#define LEXTRA_BASE_IO_SYSTEM_CALLS_H_

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace lextra::sys {

int Open(const char* path, int flags, mode_t mode = 0);
ssize_t Pread(int descriptor, void* bytes, size_t size, off_t offset);
ssize_t Write(int descriptor, const void* bytes, size_t size);
int Truncate(int descriptor, off_t size);
int Fsync(int descriptor);
int Close(int descriptor);
int Rename(const char* from, const char* to);
// renameat2 with RENAME_NOREPLACE: EEXIST if `to` exists, EINVAL if the file
// system does not support it. Counts as "rename".
int RenameNoReplace(const char* from, const char* to);
int Unlink(const char* path);
int Rmdir(const char* path);
int Mkdir(const char* path, mode_t mode);
int Statvfs(const char* path, struct statvfs* result);
// Names in a folder except "." and "..", in any order; -1 and errno on error.
int List(const char* path, std::vector<std::string>* names);

// Called before a thread is started: 0, or -1 and errno if a rule on "thread"
// makes it fail.
int MayStartThread();

// A named place where a rule "@NAME:N:kill" ends the process and one
// "@NAME:N:delay=S" delays it, like work that is slow or hangs.
void KillPoint(const char* name);

// Rules for the life of the object, instead of any others; one at a time.
class ScopedFaults {
 public:
  explicit ScopedFaults(const std::string& rules);  // exits on an invalid rule
  ScopedFaults(const ScopedFaults&) = delete;
  ~ScopedFaults();

  // Calls that the rules have hit so far, including those that "short" and
  // "flip" did not affect.
  int64_t num_hits() const;
};

}  // namespace lextra::sys

#endif  // LEXTRA_BASE_IO_SYSTEM_CALLS_H_

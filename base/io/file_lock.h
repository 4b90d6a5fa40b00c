// Exclusive ownership of a file: a lock that the system drops when its process
// ends.
#ifndef LEXTRA_BASE_IO_FILE_LOCK_H_
#define LEXTRA_BASE_IO_FILE_LOCK_H_

namespace lextra {

enum class LockResult {
  kTaken,
  kHeld,     // by another open of the file
  kUnknown,  // the file system has no locks
};

// Locks the whole file for writing, without waiting. The lock belongs to the
// open file description (Linux, F_OFD_SETLK): closing its last descriptor
// releases it, and threads and forks share it.
LockResult LockFile(int descriptor);

}  // namespace lextra

#endif  // LEXTRA_BASE_IO_FILE_LOCK_H_

// Which process has a file: a lock that the system drops with its process.
#ifndef LEXTRA_BASE_IO_FILE_LOCK_H_
#define LEXTRA_BASE_IO_FILE_LOCK_H_

namespace lextra {

enum class LockResult {
  kTaken,
  kHeld,     // by another open of the file
  kUnknown,  // the file system has no locks
};

// Locks the whole file for writing, or says at once why not. The lock belongs
// to the open file (Linux, F_OFD_SETLK): closing its last descriptor frees it,
// and threads and forks share it.
LockResult LockFile(int descriptor);

}  // namespace lextra

#endif  // LEXTRA_BASE_IO_FILE_LOCK_H_

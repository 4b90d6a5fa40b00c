#include "base/io/file_lock.h"

#include <fcntl.h>

#include <cerrno>

namespace lextra {

LockResult LockFile(int descriptor) {
  struct flock whole = {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (fcntl(descriptor, F_OFD_SETLK, &whole) == 0) return LockResult::kTaken;
  return errno == EAGAIN || errno == EACCES ? LockResult::kHeld
                                            : LockResult::kUnknown;
}

}  // namespace lextra

// A machine whose programs forget to make their writes durable. Preloaded
// (LD_PRELOAD), it turns the calls that do so into successes without effect.
//
//   LEXTRA_NO_FSYNC   all (the default), files or folders: on what
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

// errno is left as it was.
static int is_forgotten(int descriptor) {
  const char* kind = getenv("LEXTRA_NO_FSYNC");
  if (kind == NULL || strcmp(kind, "all") == 0) return 1;
  struct stat status;
  if (fstat(descriptor, &status) != 0) return 0;
  return strcmp(kind, S_ISDIR(status.st_mode) ? "folders" : "files") == 0;
}

int fsync(int descriptor) {
  return is_forgotten(descriptor) ? 0 : (int)syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor) {
  return is_forgotten(descriptor) ? 0 : (int)syscall(SYS_fdatasync, descriptor);
}

// These write more than one file, or parts of one, and none makes a folder's
// names durable on purpose: forgotten in every mode.
int syncfs(int descriptor) {
  (void)descriptor;
  return 0;
}

void sync(void) {}

int sync_file_range(int descriptor, off_t offset, off_t count,
                    unsigned int flags) {
  (void)descriptor, (void)offset, (void)count, (void)flags;
  return 0;
}

int msync(void* address, size_t length, int flags) {
  (void)address, (void)length, (void)flags;
  return 0;
}

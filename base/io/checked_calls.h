// Building blocks of the files in this folder: system calls retried after
// signals, and their errors as Status. Private to base/io.
#ifndef LEXTRA_BASE_IO_CHECKED_CALLS_H_
#define LEXTRA_BASE_IO_CHECKED_CALLS_H_

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/io/system_calls.h"
#include "base/status.h"
#include "base/work_counter.h"

namespace lextra {

// Maximum transfer per call: each call counts as a unit of work
// (base/work_counter.h), even if a disk takes seconds for a few megabytes.
inline constexpr size_t kMaxTransferBytes = size_t{8} << 20;

// Retries while a signal interrupts. Not for fsync and close: after a failure
// the kernel has forgotten the data and the descriptor.
template <typename Call>
auto WithoutInterruptions(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  CountWork();
  return result;
}

// InputError, or StorageError if the device or the host is at fault.
absl::Status ReadSystemError(const std::string& path, int error);
absl::Status StorageSystemError(std::string_view action,
                                const std::string& path, int error);

class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  Descriptor(const Descriptor&) = delete;
  ~Descriptor() {
    if (descriptor_ >= 0) sys::Close(descriptor_);
  }
  int get() const { return descriptor_; }
  int Release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

// Opens a regular file for reading; `size` receives its length.
absl::StatusOr<int> OpenRegular(const std::string& path, int64_t* size);

// Fills `bytes` from `offset` on.
absl::Status ReadAll(const std::string& path, int descriptor, int64_t offset,
                     std::span<std::byte> bytes);

// Syncs, then closes in any case.
absl::Status SyncAndClose(const std::string& path, int descriptor);

}  // namespace lextra

#endif  // LEXTRA_BASE_IO_CHECKED_CALLS_H_

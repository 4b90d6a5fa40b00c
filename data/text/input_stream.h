// The bytes of a file front to back; gzip data, whatever its name, is unpacked
// on the way, never whole.
#ifndef LEXTRA_DATA_TEXT_INPUT_STREAM_H_
#define LEXTRA_DATA_TEXT_INPUT_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/status.h"

namespace lextra {

class InputStream {
 public:
  // `stored_bytes` is raised by what is read from the disk; it outlives the
  // stream.
  static absl::StatusOr<std::unique_ptr<InputStream>> Open(
      const std::string& path, int64_t* stored_bytes);

  virtual ~InputStream() = default;

  // Whether the file is gzip data, or was to be by its name (.gz).
  virtual bool is_packed() const { return false; }

  // Fills the front of `out` (not empty); 0 means the end. Gzip data that is
  // cut off, damaged or followed by other bytes than zeros is an InputError.
  virtual absl::StatusOr<size_t> Read(std::span<char> out) = 0;
};

}  // namespace lextra

#endif  // LEXTRA_DATA_TEXT_INPUT_STREAM_H_

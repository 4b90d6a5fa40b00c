// The bytes of a file, sequentially; gzip data, whatever the file's name, is
// decompressed on the fly.
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
  // `stored_bytes` is incremented by the bytes read from disk; it outlives the
  // stream.
  static absl::StatusOr<std::unique_ptr<InputStream>> Open(
      const std::string& path, int64_t* stored_bytes);

  virtual ~InputStream() = default;

  // Whether the file is gzip data, or should be by its name (.gz).
  virtual bool is_packed() const { return false; }

  // Fills the front of `out` (not empty); 0 means the end. InputError for gzip
  // data that is truncated, corrupt or followed by bytes other than zeros.
  virtual absl::StatusOr<size_t> Read(std::span<char> out) = 0;
};

}  // namespace lextra

#endif  // LEXTRA_DATA_TEXT_INPUT_STREAM_H_

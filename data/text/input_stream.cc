#include "data/text/input_stream.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/text/file_format.h"

namespace lextra {
namespace {

constexpr size_t kPackedChunkBytes = size_t{1} << 18;
constexpr size_t kLargestReadBytes = size_t{1} << 30;
// 15: the largest window; 16: a gzip header and trailer, checked by zlib.
constexpr int kGzipWindowBits = 15 + 16;

class PlainStream : public InputStream {
 public:
  PlainStream(std::string path, int descriptor, int64_t* stored_bytes)
      : path_(std::move(path)),
        descriptor_(descriptor),
        stored_bytes_(stored_bytes) {}
  ~PlainStream() override { close(descriptor_); }

  absl::StatusOr<size_t> Read(std::span<char> out) override {
    while (true) {
      const ssize_t got = read(descriptor_, out.data(),
                               std::min(out.size(), kLargestReadBytes));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return InputError(path_ + ": " + std::strerror(errno));
      *stored_bytes_ += got;
      return static_cast<size_t>(got);
    }
  }

 private:
  std::string path_;
  int descriptor_;
  int64_t* stored_bytes_;
};

class GzipStream : public InputStream {
 public:
  GzipStream(std::string path, std::unique_ptr<InputStream> packed)
      : path_(std::move(path)),
        packed_(std::move(packed)),
        chunk_(kPackedChunkBytes) {
    ready_ = inflateInit2(&zlib_, kGzipWindowBits) == Z_OK;
  }
  ~GzipStream() override {
    if (ready_) inflateEnd(&zlib_);
  }

  bool is_packed() const override { return true; }

  absl::StatusOr<size_t> Read(std::span<char> out) override {
    if (!ready_) return InputError(path_ + ": failed to initialize zlib");
    const size_t wanted = std::min(out.size(), kLargestReadBytes);
    zlib_.next_out = reinterpret_cast<Bytef*>(out.data());
    zlib_.avail_out = static_cast<uInt>(wanted);
    while (zlib_.avail_out == wanted) {
      if (zlib_.avail_in == 0) {
        LEXTRA_ASSIGN_OR_RETURN(const size_t got, packed_->Read(chunk_));
        if (got == 0 && at_member_start_ && any_member_) return 0;
        if (got == 0) {
          return InputError(path_ +
                            ": truncated gzip data; download or compress the "
                            "file again");
        }
        zlib_.next_in = reinterpret_cast<Bytef*>(chunk_.data());
        zlib_.avail_in = static_cast<uInt>(got);
      }
      if (at_member_start_ && any_member_) SkipPadding();
      if (zlib_.avail_in > 0) LEXTRA_RETURN_IF_ERROR(Inflate());
    }
    return wanted - zlib_.avail_out;
  }

 private:
  // Tapes and block devices pad files with zeros to whole blocks. No member
  // begins with a zero.
  void SkipPadding() {
    while (zlib_.avail_in > 0 && *zlib_.next_in == 0) {
      ++zlib_.next_in;
      --zlib_.avail_in;
    }
  }

  // One step; at the end of a member it prepares for the next (gzip files may
  // be concatenated).
  absl::Status Inflate() {
    at_member_start_ = false;
    const int result = inflate(&zlib_, Z_NO_FLUSH);
    if (result == Z_STREAM_END) {
      inflateReset(&zlib_);
      at_member_start_ = true;
      any_member_ = true;
      return absl::OkStatus();
    }
    if (result == Z_OK || result == Z_BUF_ERROR) return absl::OkStatus();
    return InputError(
        absl::StrCat(path_, ": not gzip data, or corrupt (",
                     zlib_.msg != nullptr ? zlib_.msg : zError(result), ")"));
  }

  std::string path_;
  std::unique_ptr<InputStream> packed_;
  std::vector<char> chunk_;
  z_stream zlib_ = {};
  bool ready_ = false;
  bool at_member_start_ = true;
  bool any_member_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<InputStream>> InputStream::Open(
    const std::string& path, int64_t* stored_bytes) {
  // O_NONBLOCK: a pipe without a writer would block open().
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return InputError(path + ": " + std::strerror(errno));
  auto plain = std::make_unique<PlainStream>(path, descriptor, stored_bytes);
  struct stat status;
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    return InputError(path + ": not a regular file");
  }
  // A .gz without the magic is corrupt, or was never compressed.
  char head[2] = "";
  const ssize_t got = pread(descriptor, head, sizeof(head), 0);
  const bool is_gzip =
      IsGzip(std::string_view(head, std::max<ssize_t>(got, 0)));
  if (!is_gzip && !EndsWith(path, ".gz")) return plain;
  return std::make_unique<GzipStream>(path, std::move(plain));
}

}  // namespace lextra

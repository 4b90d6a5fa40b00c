// The file behind a bus error.
//
// A page of a mapped file that can't be read, because the file was cut off
// meanwhile or its disk fails, ends the process by SIGBUS, which names nothing.
// Whoever maps a file registers where it lies; the handler looks up the address
// and ends the job with a line that names the file.
#ifndef LEXTRA_BASE_IO_MAPPED_RANGE_H_
#define LEXTRA_BASE_IO_MAPPED_RANGE_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace lextra {

// Registered for the life of the object. Any thread may make and destroy one.
// Beyond some hundred at a time further ones are not registered.
class MappedRange {
 public:
  // `descriptor` is the open file, and closed with the object.
  MappedRange(const std::byte* begin, int64_t size, std::string path,
              int descriptor);
  MappedRange(const MappedRange&) = delete;
  ~MappedRange();

  bool Holds(const void* address) const {
    return address >= begin_ && address < begin_ + size_;
  }
  // "" or, where the file has become shorter than what is mapped, one line.
  std::string Problem() const;
  const std::string& path() const { return path_; }

 private:
  const std::byte* begin_;
  int64_t size_;
  std::string path_;
  int descriptor_;
  int slot_ = -1;
};

// From now on a bus error in a registered range ends all ranks with a line that
// names the file: code 3 where the file is shorter than it was, otherwise code
// 8 (base/status.h). Any other bus error does what it did before.
void NameFilesOfBusErrors();

}  // namespace lextra

#endif  // LEXTRA_BASE_IO_MAPPED_RANGE_H_

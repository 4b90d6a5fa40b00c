// The file behind a bus error.
//
// A page of a mapped file that can't be read, because the file was truncated
// meanwhile or its disk fails, ends the process by SIGBUS, which names nothing.
// Code that maps a file registers its address range; the handler looks up the
// address and ends the job with a line that names the file.
#ifndef LEXTRA_BASE_IO_MAPPED_RANGE_H_
#define LEXTRA_BASE_IO_MAPPED_RANGE_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace lextra {

// Registered for the life of the object. Any thread may create and destroy one.
// Beyond a few hundred at a time, further ones are not registered.
class MappedRange {
 public:
  // `descriptor` is the open file; it is closed with the object.
  MappedRange(const std::byte* begin, int64_t size, std::string path,
              int descriptor);
  MappedRange(const MappedRange&) = delete;
  ~MappedRange();

  bool Holds(const void* address) const {
    return address >= begin_ && address < begin_ + size_;
  }
  // One line if the file is now shorter than the mapping, else "".
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
// names the file: exit code 3 if the file was truncated, otherwise 8
// (base/status.h). Other bus errors are handled as before.
void NameFilesOfBusErrors();

}  // namespace lextra

#endif  // LEXTRA_BASE_IO_MAPPED_RANGE_H_

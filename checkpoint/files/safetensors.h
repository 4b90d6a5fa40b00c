// The safetensors container: 8 bytes of header length, a JSON header, the
// tensors' bytes (github.com/huggingface/safetensors). On reading, every rule
// of the format is checked before a byte is used; on writing, elements are
// aligned. Knows dtypes by name and size; without LibTorch.
#ifndef LEXTRA_CHECKPOINT_FILES_SAFETENSORS_H_
#define LEXTRA_CHECKPOINT_FILES_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/io/open_files.h"
#include "base/status.h"
#include "checkpoint/files/dtypes.h"

namespace lextra {

// One tensor of a file. Its bytes, in C order, begin at `file_offset` from the
// file's start.
struct TensorEntry {
  std::string name;
  std::string dtype;  // F64, F32, F16, BF16, I64, .., BOOL
  std::vector<int64_t> shape;
  int64_t file_offset = 0;
  int64_t num_bytes = 0;
};

// "F32 [64, 32]", for messages.
std::string KindText(const std::string& dtype,
                     const std::vector<int64_t>& shape);

using Metadata = std::map<std::string, std::string>;

// prod(shape) * bytes of an element; nullopt for an unknown dtype, a negative
// extent or a product beyond int64.
std::optional<int64_t> TensorBytes(const std::string& dtype,
                                   const std::vector<int64_t>& shape);

// A file whose header has been checked: names are unique, every tensor has the
// bytes of its dtype and shape, and together they tile the file's data without
// gaps, overlaps or trailing bytes.
class SafetensorsFile {
 public:
  // InputError: file, tensor or field, found and expected.
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const Metadata& metadata() const { return metadata_; }
  // In the order of their bytes.
  const std::vector<TensorEntry>& tensors() const { return tensors_; }
  // nullptr if there is none of this name.
  const TensorEntry* Find(const std::string& name) const;
  std::span<const std::byte> Bytes(const TensorEntry& tensor) const {
    return file_.bytes().subspan(tensor.file_offset, tensor.num_bytes);
  }
  int64_t header_bytes() const { return header_bytes_; }  // with the length

 private:
  SafetensorsFile() = default;
  absl::Status ReadHeader();

  MappedFile file_;
  Metadata metadata_;
  std::vector<TensorEntry> tensors_;
  std::map<std::string, size_t> places_;  // name -> index into tensors_
  int64_t header_bytes_ = 0;
};

// The bytes before the tensors of a new file. Puts `tensors` (names unique,
// dtypes known, shapes given) in the order in which their bytes must follow,
// larger elements first so that all stay aligned, and fills in their places.
std::string LayOutSafetensors(const Metadata& metadata,
                              std::vector<TensorEntry>* tensors);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_FILES_SAFETENSORS_H_

// Whole safetensors files as tensors: fixtures, token ids, per-token results.
#ifndef LEXTRA_CHECKPOINT_TENSOR_FILE_H_
#define LEXTRA_CHECKPOINT_TENSOR_FILE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/files/safetensors.h"

namespace lextra {

using NamedTensors = std::map<std::string, at::Tensor>;

// All tensors of a safetensors file, copied into memory on the CPU. InputError
// names the file and what is wrong with it.
absl::StatusOr<NamedTensors> ReadTensorFile(const std::string& path);

// Writes `path` atomically.
absl::Status WriteTensorFile(const std::string& path,
                             const NamedTensors& tensors);

// Where the tensors of a file just written are, and its size.
struct WrittenFile {
  std::vector<TensorEntry> tensors;
  int64_t num_bytes = 0;
};

// Writes a file that must not exist yet and makes its bytes durable; syncing
// the folder is up to the caller. Tensors may have any strides and device: at
// most one contiguous copy exists at a time.
absl::StatusOr<WrittenFile> WriteNewTensorFile(const std::string& path,
                                               const Metadata& metadata,
                                               const NamedTensors& tensors);

// safetensors' name of a dtype that we store (F32, F16, BF16, F64, I64, I32,
// U8, BOOL), and back. Any other fails a TORCH_CHECK.
std::string DtypeName(at::ScalarType dtype);
std::optional<at::ScalarType> DtypeNamed(const std::string& name);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_TENSOR_FILE_H_

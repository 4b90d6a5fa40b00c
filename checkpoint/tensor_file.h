// Whole safetensors files as tensors: fixtures, token ids, per-token results.
#ifndef LEXTRA_CHECKPOINT_TENSOR_FILE_H_
#define LEXTRA_CHECKPOINT_TENSOR_FILE_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "base/status.h"

namespace lextra {

using NamedTensors = std::map<std::string, at::Tensor>;

// All tensors of a safetensors file, copied into memory on the CPU. InputError
// names the file and what is wrong with it.
absl::StatusOr<NamedTensors> ReadTensorFile(const std::string& path);

// Writes `path` atomically.
absl::Status WriteTensorFile(const std::string& path,
                             const NamedTensors& tensors);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_TENSOR_FILE_H_

#include "checkpoint/tensor_file.h"

#include <ATen/ATen.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/io/files.h"
#include "base/io/open_files.h"

namespace lextra {
namespace {

constexpr std::array<std::pair<at::ScalarType, const char*>, 8> kStoredDtypes =
    {{{at::kFloat, "F32"},
      {at::kHalf, "F16"},
      {at::kBFloat16, "BF16"},
      {at::kDouble, "F64"},
      {at::kLong, "I64"},
      {at::kInt, "I32"},
      {at::kByte, "U8"},
      {at::kBool, "BOOL"}}};

absl::StatusOr<at::Tensor> CopyOf(const SafetensorsFile& file,
                                  const TensorEntry& entry) {
  const std::optional<at::ScalarType> dtype = DtypeNamed(entry.dtype);
  if (!dtype) {
    return InputError(absl::StrFormat("%s: tensor '%s': unsupported dtype %s",
                                      file.path(), entry.name, entry.dtype));
  }
  at::Tensor tensor = at::empty(entry.shape, *dtype);
  if (entry.num_bytes > 0) {
    std::memcpy(tensor.data_ptr(), file.Bytes(entry).data(), entry.num_bytes);
  }
  return tensor;
}

}  // namespace

std::string DtypeName(at::ScalarType dtype) {
  for (const auto& [stored, name] : kStoredDtypes) {
    if (stored == dtype) return name;
  }
  TORCH_CHECK(false, "unsupported dtype ", dtype);
}

std::optional<at::ScalarType> DtypeNamed(const std::string& name) {
  for (const auto& [dtype, stored] : kStoredDtypes) {
    if (name == stored) return dtype;
  }
  return std::nullopt;
}

absl::StatusOr<NamedTensors> ReadTensorFile(const std::string& path) {
  LEXTRA_ASSIGN_OR_RETURN(const SafetensorsFile file,
                          SafetensorsFile::Open(path));
  NamedTensors tensors;
  for (const TensorEntry& entry : file.tensors()) {
    LEXTRA_ASSIGN_OR_RETURN(tensors[entry.name], CopyOf(file, entry));
  }
  return tensors;
}

absl::StatusOr<WrittenFile> WriteNewTensorFile(const std::string& path,
                                               const Metadata& metadata,
                                               const NamedTensors& tensors) {
  WrittenFile written;
  for (const auto& [name, tensor] : tensors) {
    written.tensors.push_back({.name = name,
                               .dtype = DtypeName(tensor.scalar_type()),
                               .shape = tensor.sizes().vec()});
  }
  const std::string header = LayOutSafetensors(metadata, &written.tensors);
  LEXTRA_ASSIGN_OR_RETURN(FileWriter writer, FileWriter::Create(path));
  LEXTRA_RETURN_IF_ERROR(writer.Write(header));
  for (const TensorEntry& entry : written.tensors) {
    const at::Tensor bytes =
        tensors.at(entry.name).detach().to(at::kCPU).contiguous();
    LEXTRA_RETURN_IF_ERROR(writer.Write(
        std::span(static_cast<const std::byte*>(bytes.const_data_ptr()),
                  static_cast<size_t>(entry.num_bytes))));
  }
  LEXTRA_RETURN_IF_ERROR(writer.Close());
  written.num_bytes = writer.bytes_written();
  return written;
}

absl::Status WriteTensorFile(const std::string& path,
                             const NamedTensors& tensors) {
  const std::string temporary = TemporaryName(path);
  std::error_code error;
  std::filesystem::remove(temporary, error);
  absl::Status status =
      WriteNewTensorFile(temporary, {{"format", "pt"}}, tensors).status();
  if (status.ok() && std::rename(temporary.c_str(), path.c_str()) != 0) {
    status = StorageError(
        absl::StrCat("failed to rename to ", path, ": ", std::strerror(errno)));
  }
  if (!status.ok()) {
    std::filesystem::remove(temporary, error);
    return status;
  }
  const std::string folder = std::filesystem::path(path).parent_path();
  return SyncFolder(folder.empty() ? "." : folder);
}

}  // namespace lextra

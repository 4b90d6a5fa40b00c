// A .safetensors file: what is accepted can be read to its last byte, and the
// same content written by us is accepted again.
#include "checkpoint/files/safetensors.h"
#include "tests/fuzz/fuzz_input.h"

namespace lextra {
namespace {

int SumOfBytes(const SafetensorsFile& file, const TensorEntry& tensor) {
  int sum = 0;
  for (const std::byte byte : file.Bytes(tensor)) sum += static_cast<int>(byte);
  return sum;
}

// The file's content laid out and written by us.
std::string Rewritten(const SafetensorsFile& file) {
  std::vector<TensorEntry> tensors = file.tensors();
  std::string bytes = LayOutSafetensors(file.metadata(), &tensors);
  for (const TensorEntry& tensor : tensors) {
    const auto content = file.Bytes(*file.Find(tensor.name));
    bytes.append(reinterpret_cast<const char*>(content.data()), content.size());
  }
  return bytes;
}

}  // namespace
}  // namespace lextra

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lextra;
  const auto file =
      SafetensorsFile::Open(fuzz::Put("a.safetensors", fuzz::Text(data, size)));
  if (!file.ok()) {
    fuzz::CheckRefusal(file.status(), ExitCode::kInput);
    return 0;
  }
  const auto again =
      SafetensorsFile::Open(fuzz::Put("b.safetensors", Rewritten(*file)));
  FUZZ_CHECK(again.ok());
  FUZZ_CHECK(again->metadata() == file->metadata());
  for (const TensorEntry& tensor : file->tensors()) {
    const TensorEntry* found = again->Find(tensor.name);
    FUZZ_CHECK(found != nullptr && found->shape == tensor.shape &&
               SumOfBytes(*again, *found) == SumOfBytes(*file, tensor));
  }
  return 0;
}

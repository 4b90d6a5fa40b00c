// The text of a checkpoint's manifest: what is accepted has boxes that lie in
// their tensors and in files of plain names.
#include "checkpoint/files/manifest.h"
#include "checkpoint/files/shard_file.h"
#include "tests/fuzz/fuzz_input.h"

namespace lextra {
namespace {

void CheckPromises(const Manifest& manifest) {
  for (const ShardFile& file : manifest.files()) {
    FUZZ_CHECK(file.bytes() >= 0 && !file.name().empty());
    FUZZ_CHECK(file.name().find('/') == std::string::npos);
  }
  for (const TensorIndex& tensor : manifest.tensors()) {
    const Box whole = Box::Whole(ShapeOf(tensor));
    int64_t num_elements = 0;
    for (const StoredBox& stored : tensor.boxes()) {
      const Box box = BoxOf(stored);
      FUZZ_CHECK(Intersect(box, whole) == box);
      FUZZ_CHECK(stored.file() < manifest.files_size());
      FUZZ_CHECK(!StoredName(tensor.name(), box.offset).empty() ||
                 tensor.name().empty());
      num_elements += box.num_elements();
    }
    FUZZ_CHECK(num_elements == whole.num_elements());
  }
}

void ReadText(const std::string& text) {
  const auto manifest = ParseManifest(text);
  const absl::Status status =
      manifest.ok() ? CheckManifest(*manifest) : manifest.status();
  if (status.ok()) {
    CheckPromises(*manifest);
  } else {
    fuzz::CheckRefusal(status, ExitCode::kCheckpoint);
  }
}

}  // namespace
}  // namespace lextra

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lextra;
  const std::string text = fuzz::Text(data, size);
  ReadText(text);
  // A fuzzer does not find digests: this one lets it past them.
  ReadText(WithDigest(text));
  return 0;
}

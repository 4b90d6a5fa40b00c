// A token data set: PREFIX.meta.json, PREFIX.bin and PREFIX.idx. What is
// accepted can be read document by document and as packed samples; an id
// outside the vocabulary is the one refusal that may come so late.
#include <algorithm>

#include "data/samples/packed_samples.h"
#include "data/token_dataset.h"
#include "tests/fuzz/fuzz_input.h"

namespace lextra {
namespace {

void ReadDocuments(const TokenDataset& dataset) {
  int64_t total = 0;
  for (int64_t i = 0; i < dataset.num_documents(); ++i) {
    FUZZ_CHECK(dataset.document_begin(i) == total);
    std::vector<int64_t> tokens(dataset.document_size(i));
    total += std::ssize(tokens);
    const absl::Status status = dataset.Read(i, 0, tokens);
    if (!status.ok()) fuzz::CheckRefusal(status, ExitCode::kInput);
    tokens.push_back(0);
    FUZZ_CHECK(!dataset.Read(i, 0, tokens).ok());
  }
  FUZZ_CHECK(total == dataset.num_tokens());
}

void ReadSamples(const TokenDataset& dataset) {
  constexpr int64_t kLength = 3;
  const auto samples = PackedSamples::Create(dataset, kLength, /*seed=*/1);
  if (!samples.ok()) {
    fuzz::CheckRefusal(samples.status(), ExitCode::kInput);
    FUZZ_CHECK(dataset.num_tokens() <= kLength);
    return;
  }
  std::vector<int64_t> tokens(kLength + 1);
  for (int64_t i = 0; i < samples->num_samples(); ++i) {
    const absl::Status status = samples->Read(i, tokens);
    if (!status.ok()) fuzz::CheckRefusal(status, ExitCode::kInput);
  }
}

}  // namespace
}  // namespace lextra

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lextra;
  const auto parts = fuzz::Parts(fuzz::Text(data, size), 3);
  fuzz::Put("data.meta.json", parts[0]);
  fuzz::Put("data.bin", parts[1]);
  const auto dataset = TokenDataset::Open(fuzz::Put("data.idx", parts[2]));
  if (!dataset.ok()) {
    fuzz::CheckRefusal(dataset.status(), ExitCode::kInput);
    return 0;
  }
  ReadDocuments(*dataset);
  ReadSamples(*dataset);
  return 0;
}

#include "trainer/sample_batch.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

namespace lextra {

absl::StatusOr<at::Tensor> ReadSamples(const PackedSamples& samples,
                                       std::span<const int64_t> wanted) {
  RECORD_USER_SCOPE("data: ReadSamples");
  const int64_t places = samples.training_length() + 1;
  const at::Tensor tokens_BT1 =
      at::empty({std::ssize(wanted), places}, at::kLong);
  int64_t* row = tokens_BT1.mutable_data_ptr<int64_t>();
  for (const int64_t sample : wanted) {
    LEXTRA_RETURN_IF_ERROR(
        samples.Read(sample, std::span(row, static_cast<size_t>(places))));
    row += places;
  }
  return tokens_BT1;
}

}  // namespace lextra

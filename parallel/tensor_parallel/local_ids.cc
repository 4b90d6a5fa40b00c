#include "parallel/tensor_parallel/local_ids.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lextra {

LocalIds::LocalIds(const at::Tensor& ids, int64_t first, int64_t count)
    : place(ids - first), outside((place < 0).logical_or_(place >= count)) {
  place.remainder_(std::max<int64_t>(count, 1));
}

void CheckIds(const at::Tensor& ids, int64_t limit, const char* what) {
  TORCH_CHECK(ids.scalar_type() == at::kLong, what, " are ", ids.scalar_type(),
              ", not int64");
  if (!ids.is_cpu() || ids.numel() == 0) return;
  const auto [smallest, largest] = at::aminmax(ids);
  TORCH_CHECK(smallest.item<int64_t>() >= 0 && largest.item<int64_t>() < limit,
              what, " from ", smallest.item<int64_t>(), " to ",
              largest.item<int64_t>(), " in a vocabulary of ", limit);
}

}  // namespace lextra

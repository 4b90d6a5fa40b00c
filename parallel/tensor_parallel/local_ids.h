// Token ids on a rank that holds a part of the vocabulary's rows.
#ifndef LEXTRA_PARALLEL_TENSOR_PARALLEL_LOCAL_IDS_H_
#define LEXTRA_PARALLEL_TENSOR_PARALLEL_LOCAL_IDS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lextra {

// Which of the ids are rows [first, first + count), and their place there. An
// id outside has a place too: spread over the rows, so that zeros added there
// do not all hit the same row.
struct LocalIds {
  LocalIds(const at::Tensor& ids, int64_t first, int64_t count);

  at::Tensor place;    // int64
  at::Tensor outside;  // bool
};

// Checks that ids are int64 and, on a CPU only, below `limit`: on a GPU the
// check would wait for the device, and the data set checks its ids when they
// are read.
void CheckIds(const at::Tensor& ids, int64_t limit, const char* what);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_TENSOR_PARALLEL_LOCAL_IDS_H_

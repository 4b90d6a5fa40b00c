// Token ids on a rank that holds a part of the vocabulary's rows.
#ifndef LEXTRA_PARALLEL_TENSOR_PARALLEL_LOCAL_IDS_H_
#define LEXTRA_PARALLEL_TENSOR_PARALLEL_LOCAL_IDS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lextra {

// Which of the ids are rows [first, first + count), and their place there. An
// id outside has some place too: spread over the rows, so that zeros added at
// these places do not all meet in one.
struct LocalIds {
  LocalIds(const at::Tensor& ids, int64_t first, int64_t count);

  at::Tensor place;    // int64
  at::Tensor outside;  // bool
};

// Ids are int64 and, which is seen on a CPU only, below `limit`: on a GPU the
// check would wait for the device; the data set checks its ids when they are
// read.
void CheckIds(const at::Tensor& ids, int64_t limit, const char* what);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_TENSOR_PARALLEL_LOCAL_IDS_H_

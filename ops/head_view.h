// One vector of D neighboring numbers for each (batch, place, head): queries,
// keys, values or their gradients, often inside a packed tensor. Strides are in
// elements.
#ifndef LEXTRA_OPS_HEAD_VIEW_H_
#define LEXTRA_OPS_HEAD_VIEW_H_

#include <cstdint>

namespace lextra {

template <typename Scalar>
struct HeadVectors {
  Scalar* data;
  int64_t batch_stride;
  int64_t place_stride;
  int64_t head_stride;

  Scalar* At(int64_t batch, int64_t place, int64_t head) const {
    return data + batch * batch_stride + place * place_stride +
           head * head_stride;
  }
};

}  // namespace lextra

#endif  // LEXTRA_OPS_HEAD_VIEW_H_

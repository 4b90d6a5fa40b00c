// What every Communicator must do, whatever its backend: each test program
// makes a group of its backend and runs all of these claims on it. Numbers are
// small integers, so that every sum is exact in every dtype and equality is
// demanded.
#ifndef LEXTRA_TESTS_PARALLEL_COLLECTIVES_H_
#define LEXTRA_TESTS_PARALLEL_COLLECTIVES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <ostream>

#include "parallel/communicator.h"

namespace lextra::testing {

// Rank r's numbers: r + 1, r + 2, ... modulo 11; and what a reduction over
// `size` ranks makes of them.
at::Tensor Numbers(int rank, int64_t count, at::ScalarType dtype = at::kFloat);
at::Tensor Reduced(int size, int64_t count, ReduceOp op, at::ScalarType dtype);

// A group, and the way of a tensor to its device and back: values that the
// group reads, which may still be under way, and room for a result.
struct TestedGroup {
  Communicator& group;
  std::function<at::Tensor(const at::Tensor& values)> to_device =
      [](const at::Tensor& values) { return values.clone(); };
  std::function<at::Tensor(const at::Tensor& values)> room = to_device;
  std::function<at::Tensor(const at::Tensor& tensor)> to_host =
      [](const at::Tensor& tensor) { return tensor; };
};

// All ranks of the group call it alike.
struct CollectiveClaim {
  const char* name;
  void (*check)(const TestedGroup& tested);
};
inline void PrintTo(const CollectiveClaim& claim, std::ostream* out) {
  *out << claim.name;
}

inline constexpr int kNumCollectiveClaims = 9;
extern const CollectiveClaim kCollectiveClaims[kNumCollectiveClaims];

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_PARALLEL_COLLECTIVES_H_

#include "ops/cuda/rotary.h"

#include <ATen/ATen.h>

#include "ops/matmul.h"
#include "tests/ops/cuda/kernel_device.h"

namespace lextra {
namespace {

using testing::KernelDevice;

class RotatePairsOnGpu : public testing::KernelTest {};

// The pairs of x [B, T, H, D] as the header's equations say, in fp64.
at::Tensor Expected(const at::Tensor& x_BTHD, const at::Tensor& cos_TI,
                    const at::Tensor& sin_TI, bool transposed) {
  const at::Tensor x = x_BTHD.to(at::kDouble).unflatten(3, {-1, 2});
  const at::Tensor even = x.select(4, 0);
  const at::Tensor odd = x.select(4, 1);
  const at::Tensor c = cos_TI.to(at::kDouble).unsqueeze(1);
  const at::Tensor s =
      sin_TI.to(at::kDouble).unsqueeze(1) * (transposed ? -1 : 1);
  return at::stack({even * c - odd * s, odd * c + even * s}, 4).flatten(3);
}

template <typename T>
HeadVectors<T> VectorsOf(const at::Tensor& x) {
  return {const_cast<void*>(x.const_data_ptr()), x.stride(0), x.stride(1),
          x.stride(2)};
}

// Heads 2 .. 4 of 7 in a packed tensor; neither places nor pairs fill a block
// of threads. Shifted: no vector begins at a multiple of 16 bytes.
void ExpectRotatedInPlace(at::ScalarType type, int64_t head_dim, bool shifted,
                          bool transposed) {
  SCOPED_TRACE(::testing::Message() << type << " of " << head_dim << " shifted "
                                    << shifted << " transposed " << transposed);
  const int64_t size = 2 * 5 * 7 * head_dim;
  const at::Tensor packed = at::randn({size + 1}, at::kDouble)
                                .to(type)
                                .to(KernelDevice())
                                .narrow(0, shifted ? 1 : 0, size)
                                .view({2, 5, 7, head_dim});
  const at::Tensor before =
      packed.to(at::kCPU, /*non_blocking=*/false, /*copy=*/true);
  const auto table = [&] {
    return at::rand({5, head_dim / 2}, StatisticsType(type)).to(KernelDevice());
  };
  const at::Tensor cos = table();
  const at::Tensor sin = table();
  const at::Tensor heads = packed.narrow(2, 2, 3);
  testing::Launch(&CudaKernels::rotate_pairs,
                  RotatePairsCuda{.type = testing::ElementTypeOf(type),
                                  .in = VectorsOf<const void>(heads),
                                  .out = VectorsOf<void>(heads),
                                  .cos = cos.const_data_ptr(),
                                  .sin = sin.const_data_ptr(),
                                  .batch = 2,
                                  .places = 5,
                                  .heads = 3,
                                  .head_dim = head_dim,
                                  .transposed = transposed});
  const at::Tensor after = packed.cpu();
  const at::Tensor expected =
      Expected(before.narrow(2, 2, 3), cos.cpu(), sin.cpu(), transposed);
  // One rounding of the result (bf16), or a few of the products.
  const double tolerance = type == at::kBFloat16 ? 1.0 / 256
                           : type == at::kFloat  ? 1e-6
                                                 : 1e-15;
  EXPECT_TRUE(at::allclose(after.narrow(2, 2, 3).to(at::kDouble), expected,
                           tolerance, tolerance));
  EXPECT_TRUE(at::equal(after.narrow(2, 0, 2), before.narrow(2, 0, 2)));
  EXPECT_TRUE(at::equal(after.narrow(2, 5, 2), before.narrow(2, 5, 2)));
}

TEST_F(RotatePairsOnGpu, InPlaceInAPackedTensorEqualsFp64) {
  at::manual_seed(1);
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (const int64_t head_dim : {2, 6, 8, 64}) {
      for (const bool shifted : {false, true}) {
        for (const bool transposed : {false, true}) {
          ExpectRotatedInPlace(type, head_dim, shifted, transposed);
        }
      }
    }
  }
}

}  // namespace
}  // namespace lextra

#include "ops/cuda/swiglu.h"

#include <ATen/ATen.h>

#include <vector>

#include "tests/ops/cuda/kernel_device.h"

namespace lextra {
namespace {

using testing::ElementTypeOf;
using testing::KernelDevice;

class SwiGluOnGpu : public testing::KernelTest {};

TEST_F(SwiGluOnGpu, ForwardAndBackwardEqualFp64) {
  at::manual_seed(1);
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (const int64_t columns : {1, 3, 33, 257, 1000, 4097}) {
      for (const int64_t rows : {0, 1, 5}) {
        SCOPED_TRACE(::testing::Message()
                     << rows << " x " << columns << " " << type);
        const auto random = [&](int64_t width) {
          return (at::randn({rows, width}, at::kDouble) * 4)
              .to(type)
              .to(KernelDevice());
        };
        const at::Tensor packed = random(2 * columns);
        const at::Tensor dy = random(columns);
        const at::Tensor y = at::empty_like(dy);
        const at::Tensor dpacked = at::empty_like(packed);
        testing::Launch(&CudaKernels::swi_glu,
                        SwiGluCuda{.type = ElementTypeOf(type),
                                   .packed = packed.const_data_ptr(),
                                   .y = y.mutable_data_ptr(),
                                   .rows = rows,
                                   .columns = columns});
        testing::Launch(
            &CudaKernels::swi_glu_gradient,
            SwiGluGradientCuda{.type = ElementTypeOf(type),
                               .packed = packed.const_data_ptr(),
                               .dy = dy.const_data_ptr(),
                               .dpacked = dpacked.mutable_data_ptr(),
                               .rows = rows,
                               .columns = columns});
        if (rows == 0) continue;
        const at::Tensor exact =
            packed.to(at::kCPU).to(at::kDouble).requires_grad_(true);
        const at::Tensor expected = at::silu(exact.narrow(1, 0, columns)) *
                                    exact.narrow(1, columns, columns);
        expected.backward(dy.to(at::kCPU).to(at::kDouble));
        // One rounding of the result (bf16), or a few of the products.
        const double tolerance = type == at::kBFloat16 ? 1.0 / 256
                                 : type == at::kFloat  ? 2e-6
                                                       : 1e-14;
        EXPECT_TRUE(at::allclose(y.to(at::kCPU).to(at::kDouble),
                                 expected.detach(), tolerance, tolerance));
        EXPECT_TRUE(at::allclose(dpacked.to(at::kCPU).to(at::kDouble),
                                 exact.grad(), tolerance, tolerance));
      }
    }
  }
}

TEST_F(SwiGluOnGpu, TakesEachPointerOffAlignment) {
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    at::Tensor expected;
    at::Tensor expected_gradient;
    for (int shifted = -1; shifted < 4; ++shifted) {
      at::manual_seed(2);
      const int64_t columns = 16;
      // packed, y, dy, dpacked
      std::vector<at::Tensor> t;
      for (const int64_t width : {2 * columns, columns, columns, 2 * columns}) {
        t.push_back(at::randn({3, width}).to(type).to(KernelDevice()));
      }
      if (shifted >= 0) t[shifted] = testing::OffAlignment(t[shifted]);
      testing::Launch(&CudaKernels::swi_glu,
                      SwiGluCuda{.type = ElementTypeOf(type),
                                 .packed = t[0].const_data_ptr(),
                                 .y = t[1].mutable_data_ptr(),
                                 .rows = 3,
                                 .columns = columns});
      testing::Launch(&CudaKernels::swi_glu_gradient,
                      SwiGluGradientCuda{.type = ElementTypeOf(type),
                                         .packed = t[0].const_data_ptr(),
                                         .dy = t[2].const_data_ptr(),
                                         .dpacked = t[3].mutable_data_ptr(),
                                         .rows = 3,
                                         .columns = columns});
      if (shifted < 0) {
        expected = t[1];
        expected_gradient = t[3];
      }
      EXPECT_TRUE(at::equal(t[1], expected)) << type << " " << shifted;
      EXPECT_TRUE(at::equal(t[3], expected_gradient)) << type << " " << shifted;
    }
  }
}

// Its exponential overflows, its value does not.
TEST_F(SwiGluOnGpu, LargeGatesStayFinite) {
  const at::Tensor packed =
      at::tensor({-1e4f, 1e4f, 2.0f, 2.0f}).view({1, 4}).to(KernelDevice());
  const at::Tensor dy = at::ones({1, 2}).to(KernelDevice());
  const at::Tensor y = at::empty_like(dy);
  const at::Tensor dpacked = at::empty_like(packed);
  testing::Launch(&CudaKernels::swi_glu,
                  SwiGluCuda{.type = ElementType::kFloat,
                             .packed = packed.const_data_ptr(),
                             .y = y.mutable_data_ptr(),
                             .rows = 1,
                             .columns = 2});
  testing::Launch(&CudaKernels::swi_glu_gradient,
                  SwiGluGradientCuda{.type = ElementType::kFloat,
                                     .packed = packed.const_data_ptr(),
                                     .dy = dy.const_data_ptr(),
                                     .dpacked = dpacked.mutable_data_ptr(),
                                     .rows = 1,
                                     .columns = 2});
  EXPECT_TRUE(at::equal(y.cpu(), at::tensor({0.0f, 2e4f}).view({1, 2})));
  EXPECT_TRUE(at::equal(dpacked.cpu(),
                        at::tensor({0.0f, 2.0f, 0.0f, 1e4f}).view({1, 4})));
}

}  // namespace
}  // namespace lextra

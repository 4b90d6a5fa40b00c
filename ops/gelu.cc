#include "ops/gelu.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include "base/math.h"
#include "ops/cpu/gelu.h"
#include "ops/cuda/gelu.h"
#include "ops/cuda_kernel.h"
#include "ops/matmul.h"
#include "ops/row_blocks.h"

namespace lextra {
namespace {

bool ByKernels(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() != at::kBFloat16;
}

GeluProduct GeluByKernels(const at::Tensor& a, const at::Tensor& b,
                          const at::Tensor& bias, bool with_gradient) {
  const int64_t columns = b.size(1);
  GeluProduct product = {at::empty({a.size(0), columns}, a.options()), {}};
  if (with_gradient) product.saved = at::empty_like(product.y);
  AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "GeluOfProduct", [&] {
    auto* y = product.y.mutable_data_ptr<scalar_t>();
    auto* saved =
        with_gradient ? product.saved.mutable_data_ptr<scalar_t>() : nullptr;
    const auto finish = [=](int64_t begin, int64_t end) {
      RECORD_USER_SCOPE("activation: Gelu");
      const int64_t first = begin * columns;
      const int64_t count = (end - begin) * columns;
      if (saved != nullptr) {
        GeluWithDerivative(saved + first, count, y + first);
      } else {
        Gelu(y + first, count, y + first);
      }
    };
    Matmul(with_gradient ? product.saved : product.y, a, b, bias, finish);
  });
  return product;
}

at::Tensor GradientByKernels(const at::Tensor& dy, const at::Tensor& derivative,
                             const at::Tensor& dbias) {
  const int64_t rows = dy.size(0);
  const int64_t columns = dy.size(1);
  const at::Tensor dh = at::empty_like(dy);
  const at::Tensor sums = at::zeros({NumBlocks(rows), columns}, dy.options());
  AT_DISPATCH_FLOATING_TYPES(dy.scalar_type(), "GeluGradient", [&] {
    const auto* from = dy.const_data_ptr<scalar_t>();
    const auto* factor = derivative.const_data_ptr<scalar_t>();
    auto* to = dh.mutable_data_ptr<scalar_t>();
    auto* sum = sums.mutable_data_ptr<scalar_t>();
    ForEachRowBlock(rows, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        GeluGradientRow(from + n * columns, factor + n * columns, columns,
                        to + n * columns, sum + begin / kBlockRows * columns);
      }
    });
  });
  if (dbias.defined()) dbias.add_(sums.sum(0));
  return dh;
}

at::Tensor GradientOnGpu(const at::Tensor& dy, const at::Tensor& h,
                         const at::Tensor& dbias) {
  static const CudaKernel<GeluGradientCuda> kernel(&CudaKernels::gelu_gradient);
  const int64_t rows = dy.size(0);
  const int64_t columns = dy.size(1);
  const at::Tensor dh = at::empty_like(dy);
  at::Tensor sums;
  if (dbias.defined()) {
    sums = at::empty({CeilDivide(rows, kGeluRowsPerBlock), columns},
                     dy.options().dtype(StatisticsType(dy.scalar_type())));
  }
  kernel({.type = ElementTypeOf(dy.scalar_type()),
          .h = h.const_data_ptr(),
          .dy = dy.const_data_ptr(),
          .dh = dh.mutable_data_ptr(),
          .sums = sums.defined() ? sums.mutable_data_ptr() : nullptr,
          .rows = rows,
          .columns = columns},
         dy.device());
  if (dbias.defined()) dbias.add_(sums.sum(0));
  return dh;
}

}  // namespace

GeluProduct GeluOfProduct(const at::Tensor& a, const at::Tensor& b,
                          const at::Tensor& bias, bool with_gradient) {
  if (ByKernels(a)) return GeluByKernels(a, b, bias, with_gradient);
  const at::Tensor h = at::empty({a.size(0), b.size(1)}, a.options());
  Matmul(h, a, b, bias);
  return {at::gelu(h), with_gradient ? h : at::Tensor()};
}

at::Tensor GeluGradient(const at::Tensor& dy, const at::Tensor& saved,
                        const at::Tensor& dbias) {
  RECORD_USER_SCOPE("activation: GeluGradient");
  if (ByKernels(dy)) return GradientByKernels(dy.contiguous(), saved, dbias);
  if (dy.is_cuda()) return GradientOnGpu(dy.contiguous(), saved, dbias);
  const at::Tensor dh = at::gelu_backward(dy, saved);
  if (dbias.defined()) AddColumnSums(dbias, dh);
  return dh;
}

}  // namespace lextra

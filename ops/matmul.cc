#include "ops/matmul.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "base/work_counter.h"

namespace lextra {

namespace {

// Its name in a profile: rows, columns and depth.
std::string ProductName(const at::Tensor& out, const at::Tensor& a) {
  return absl::StrCat("gemm: ", out.size(0), "x", out.size(1), "x", a.size(1));
}

template <typename Scalar>
MatrixView<Scalar> ViewOf(const at::Tensor& matrix) {
  return {matrix.const_data_ptr<Scalar>(), matrix.stride(0), matrix.stride(1)};
}

void ProductOnCpu(const at::Tensor& out, const at::Tensor& a,
                  const at::Tensor& b, const at::Tensor& bias, bool accumulate,
                  const FinishRows& finish_rows) {
  TORCH_CHECK(out.dim() == 2 && a.dim() == 2 && b.dim() == 2 &&
                  out.size(0) == a.size(0) && a.size(1) == b.size(0) &&
                  out.size(1) == b.size(1) &&
                  (out.stride(1) == 1 || out.size(1) <= 1),
              "product of ", a.sizes(), " and ", b.sizes(), " into ",
              out.sizes(), " with strides ", out.strides());
  TORCH_CHECK(
      !bias.defined() || (bias.dim() == 1 && bias.size(0) == out.size(1) &&
                          bias.is_contiguous()),
      "product with ", out.size(1), " columns and a bias of shape ",
      bias.sizes());
  CountWork();
  if (out.scalar_type() == at::kBFloat16) {
    // Only for tests of mixed precision; BLAS sums in fp32.
    at::Tensor result = out;
    if (bias.defined()) {
      at::addmm_out(result, bias, a, b);
    } else {
      at::addmm_out(result, out, a, b, accumulate ? 1 : 0);
    }
    if (finish_rows) finish_rows(0, out.size(0));
    return;
  }
  AT_DISPATCH_FLOATING_TYPES(out.scalar_type(), "product", [&] {
    MultiplyOnCpu<scalar_t>(
        ViewOf<scalar_t>(a), ViewOf<scalar_t>(b), out.size(0), out.size(1),
        a.size(1),
        {.data = out.mutable_data_ptr<scalar_t>(),
         .row_step = out.stride(0),
         .bias = bias.defined() ? bias.const_data_ptr<scalar_t>() : nullptr,
         .accumulate = accumulate},
        finish_rows);
  });
}

}  // namespace

at::ScalarType StatisticsType(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

void Matmul(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
            const at::Tensor& bias, const FinishRows& finish_rows) {
  RECORD_USER_SCOPE(ProductName(out, a));
  const at::ScalarType type = out.scalar_type();
  at::Tensor result = out;
  if (out.is_cpu()) {
    ProductOnCpu(out, a.to(type), b.to(type),
                 bias.defined() ? bias.to(type) : bias, /*accumulate=*/false,
                 finish_rows);
    return;
  }
  if (bias.defined()) {
    at::addmm_out(result, bias, a, b);
  } else if (a.scalar_type() == type) {
    at::mm_out(result, a, b);
  } else {
    at::mm_out(result, a, b, type);
  }
  if (finish_rows) finish_rows(0, out.size(0));
}

void MatmulAccumulate(const at::Tensor& out, const at::Tensor& a,
                      const at::Tensor& b) {
  RECORD_USER_SCOPE(ProductName(out, a));
  const at::ScalarType type = out.scalar_type();
  at::Tensor result = out;
  if (out.is_cpu()) {
    ProductOnCpu(out, a.to(type), b.to(type), /*bias=*/{}, /*accumulate=*/true,
                 /*finish_rows=*/nullptr);
  } else if (a.scalar_type() == type) {
    result.addmm_(a, b);
  } else {
    at::addmm_out(result, out, a, b, type, 1, 1);
  }
}

void AddColumnSums(const at::Tensor& sums, const at::Tensor& rows) {
  sums.add_(rows.sum(0, /*keepdim=*/false, sums.scalar_type()));
}

void IndexAddRows(const at::Tensor& gradient, const at::Tensor& places,
                  const at::Tensor& rows) {
  at::Tensor sums = gradient;
  const at::Tensor values = rows.to(gradient.scalar_type());
  // On a GPU index_add_ adds atomically in any order; index_put_ sorts.
  if (sums.is_cuda() && at::globalContext().deterministicAlgorithms()) {
    sums.index_put_({places}, values, /*accumulate=*/true);
  } else {
    sums.index_add_(0, places, values);
  }
}

}  // namespace lextra

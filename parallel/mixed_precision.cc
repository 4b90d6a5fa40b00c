#include "parallel/mixed_precision.h"

#include <ATen/ATen.h>

namespace lextra {

at::ScalarType StatisticsType(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

void SetProduct(const at::Tensor& out, const at::Tensor& a,
                const at::Tensor& b) {
  at::Tensor result = out;
  if (a.scalar_type() == out.scalar_type()) {
    at::mm_out(result, a, b);
  } else if (a.is_cuda()) {
    at::mm_out(result, a, b, out.scalar_type());
  } else {
    at::mm_out(result, a.to(out.scalar_type()), b.to(out.scalar_type()));
  }
}

void AddProduct(const at::Tensor& out, const at::Tensor& a,
                const at::Tensor& b) {
  at::Tensor result = out;
  if (a.scalar_type() == out.scalar_type()) {
    result.addmm_(a, b);
  } else if (a.is_cuda()) {
    at::addmm_out(result, out, a, b, out.scalar_type(), 1, 1);
  } else {
    result.addmm_(a.to(out.scalar_type()), b.to(out.scalar_type()));
  }
}

}  // namespace lextra

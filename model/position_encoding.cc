#include "model/position_encoding.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "model/kernels/head_vectors_of.h"
#include "model/kernels/rotate_pairs.h"
#include "model/kernels/rotate_pairs_cuda.h"
#include "model/precision.h"
#include "parallel/cuda_kernel.h"
#include "parallel/device_copy.h"

namespace lextra {
namespace {

// Factors below this count as 0: what they multiply vanishes beside any other
// score, and denormal numbers are slow.
double SmallestFactor(at::ScalarType dtype) {
  return dtype == at::kDouble ? std::numeric_limits<double>::min() /
                                    std::numeric_limits<double>::epsilon()
                              : std::numeric_limits<float>::min() /
                                    std::numeric_limits<float>::epsilon();
}

// RoPE and xPos (METHOD section 1): the pair i of a query at position p is
// rotated by p theta_i and scaled by zeta_i^((p - centre) / scale_base), that
// of a key by the inverse factor. RoPE is zeta = 1.
class RotaryEncoding : public PositionEncoding {
 public:
  // Per pair: theta_i, and log(zeta_i) / scale_base.
  RotaryEncoding(std::vector<double> angles, std::vector<double> log_factors,
                 int64_t centre, at::ScalarType dtype)
      : angles_(std::move(angles)),
        log_factors_(std::move(log_factors)),
        centre_(centre),
        dtype_(dtype) {}

  void Rotate(AttentionRole role, const at::Tensor& in_BTHD,
              const at::Tensor& out_BTHD,
              int64_t first_position) const override {
    Apply(role, in_BTHD, out_BTHD, first_position, /*transposed=*/false);
  }

  void RotateTransposed(AttentionRole role, const at::Tensor& in_BTHD,
                        const at::Tensor& out_BTHD,
                        int64_t first_position) const override {
    Apply(role, in_BTHD, out_BTHD, first_position, /*transposed=*/true);
  }

 private:
  // factor * cos and factor * sin, [positions, pairs], from position 0 on.
  struct Table {
    at::Tensor cos;
    at::Tensor sin;
  };

  void Apply(AttentionRole role, const at::Tensor& in, const at::Tensor& out,
             int64_t first_position, bool transposed) const {
    RECORD_USER_SCOPE("positions: Rotate");
    const int64_t pairs = static_cast<int64_t>(angles_.size());
    TORCH_CHECK(
        in.dim() == 4 && in.sizes() == out.sizes() && in.size(3) == 2 * pairs &&
            in.dtype() == out.dtype() &&
            (in.scalar_type() == at::kDouble) == (dtype_ == at::kDouble) &&
            first_position >= 0,
        "rotation of ", in.sizes(), " ", in.dtype(), " into ", out.sizes(), " ",
        out.dtype(), " from position ", first_position,
        " on, made for heads of ", 2 * pairs, " ", dtype_);
    if (in.is_cpu() && in.scalar_type() == at::kBFloat16) {
      const at::Tensor wide = in.to(at::kFloat);
      Apply(role, wide, wide, first_position, transposed);
      // As the kernels write: autograd is not told (causal_attention.cc).
      const at::AutoDispatchBelowADInplaceOrView raw;
      out.copy_(wide);
      return;
    }
    const Table& table =
        TableUpTo(role, first_position + in.size(1), in.device());
    if (in.is_cuda()) {
      RotateOnCuda(table, in, out, first_position, transposed);
      return;
    }
    AT_DISPATCH_FLOATING_TYPES(dtype_, "RotatePairs", [&] {
      const int64_t first = first_position * pairs;
      RotatePairs<scalar_t>(
          HeadVectorsOf<const scalar_t>(in), HeadVectorsOf<scalar_t>(out),
          {table.cos.const_data_ptr<scalar_t>() + first,
           table.sin.const_data_ptr<scalar_t>() + first},
          in.size(0), in.size(1), in.size(2), in.size(3), transposed);
    });
  }

  static void RotateOnCuda(const Table& table, const at::Tensor& in,
                           const at::Tensor& out, int64_t first_position,
                           bool transposed) {
    static const CudaKernel<RotatePairsCuda> kernel(kRotatePairsCuda);
    kernel(
        {.type = ElementTypeOf(in.scalar_type()),
         .in = {in.const_data_ptr(), in.stride(0), in.stride(1), in.stride(2)},
         .out = {out.mutable_data_ptr(), out.stride(0), out.stride(1),
                 out.stride(2)},
         .cos = table.cos[first_position].const_data_ptr(),
         .sin = table.sin[first_position].const_data_ptr(),
         .batch = in.size(0),
         .places = in.size(1),
         .heads = in.size(2),
         .head_size = in.size(3),
         .transposed = transposed},
        in.device());
  }

  const Table& TableUpTo(AttentionRole role, int64_t num_positions,
                         const at::Device& device) const {
    Table& table = role == AttentionRole::kQuery ? queries_ : keys_;
    const bool is_here = table.cos.defined() && table.cos.device() == device;
    const int64_t present = is_here ? table.cos.size(0) : 0;
    if (present < num_positions) {
      // Doubling keeps the work for ever longer asks linear.
      const Table made = MakeTable(role, std::max(num_positions, 2 * present));
      table = {CopyToDevice(made.cos, device), CopyToDevice(made.sin, device)};
    }
    return table;
  }

  Table MakeTable(AttentionRole role, int64_t num_positions) const {
    const int64_t pairs = static_cast<int64_t>(angles_.size());
    const double smallest = SmallestFactor(dtype_);
    Table table = {at::empty({num_positions, pairs}, dtype_),
                   at::empty({num_positions, pairs}, dtype_)};
    AT_DISPATCH_FLOATING_TYPES(dtype_, "RotationTable", [&] {
      scalar_t* cos = table.cos.mutable_data_ptr<scalar_t>();
      scalar_t* sin = table.sin.mutable_data_ptr<scalar_t>();
      for (int64_t position = 0; position < num_positions; ++position) {
        const double exponent = static_cast<double>(
            role == AttentionRole::kQuery ? position - centre_
                                          : centre_ - position);
        for (int64_t i = 0; i < pairs; ++i) {
          double factor = std::exp(exponent * log_factors_[i]);
          if (factor < smallest) factor = 0;
          const double angle = static_cast<double>(position) * angles_[i];
          *cos++ = static_cast<scalar_t>(factor * std::cos(angle));
          *sin++ = static_cast<scalar_t>(factor * std::sin(angle));
        }
      }
    });
    return table;
  }

  std::vector<double> angles_;
  std::vector<double> log_factors_;
  int64_t centre_;
  at::ScalarType dtype_;
  mutable Table queries_;
  mutable Table keys_;
};

class NoPosition : public PositionEncoding {};

}  // namespace

at::Tensor PositionEncoding::AddToEmbedding(const at::Tensor& x_BTC,
                                            const at::Tensor&) const {
  return x_BTC;
}

void PositionEncoding::Rotate(AttentionRole, const at::Tensor& in_BTHD,
                              const at::Tensor& out_BTHD, int64_t) const {
  if (!out_BTHD.is_same(in_BTHD)) out_BTHD.copy_(in_BTHD);
}

void PositionEncoding::RotateTransposed(AttentionRole,
                                        const at::Tensor& in_BTHD,
                                        const at::Tensor& out_BTHD,
                                        int64_t) const {
  if (!out_BTHD.is_same(in_BTHD)) out_BTHD.copy_(in_BTHD);
}

at::Tensor PositionEncoding::ScoreBias(int64_t, int64_t, int64_t,
                                       int64_t) const {
  return {};
}

std::unique_ptr<PositionEncoding> MakePositionEncoding(const ModelConfig& model,
                                                       int64_t centre) {
  if (model.position() == NONE) return std::make_unique<NoPosition>();
  const int64_t pairs = model.head_size() / 2;
  std::vector<double> angles(pairs);
  std::vector<double> log_factors(pairs, 0.0);
  for (int64_t i = 0; i < pairs; ++i) {
    const double fraction = static_cast<double>(i) / static_cast<double>(pairs);
    angles[i] = std::pow(model.rotary_base(), -fraction);
    if (model.position() == XPOS) {
      const double gamma = model.xpos_gamma();
      log_factors[i] =
          std::log((fraction + gamma) / (1 + gamma)) / model.xpos_scale_base();
    }
  }
  return std::make_unique<RotaryEncoding>(std::move(angles),
                                          std::move(log_factors), centre,
                                          MasterType(model.precision()));
}

}  // namespace lextra

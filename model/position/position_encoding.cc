#include "model/position/position_encoding.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

#include "config/position_methods.h"
#include "model/precision.h"
#include "ops/cpu/rotary.h"
#include "ops/cuda/rotary.h"
#include "ops/cuda_kernel.h"
#include "ops/head_view_of.h"
#include "parallel/device_copy.h"

namespace lextra {
namespace {

// Factors below this count as 0: what they multiply is negligible next to any
// other score, and denormals are slow.
double SmallestFactor(at::ScalarType dtype) {
  return dtype == at::kDouble ? std::numeric_limits<double>::min() /
                                    std::numeric_limits<double>::epsilon()
                              : std::numeric_limits<float>::min() /
                                    std::numeric_limits<float>::epsilon();
}

constexpr int64_t kEndless = std::numeric_limits<int64_t>::max();

// How many positions from the center the factors of keys stay in range: a
// factor at the far end times the smallest nonzero one is the inverse of the
// former, so what far queries lose as their factors underflow to 0 is
// negligible.
int64_t FactorReach(const std::vector<double>& log_factors,
                    at::ScalarType dtype) {
  const double fastest =
      *std::min_element(log_factors.begin(), log_factors.end());
  const double positions = std::log(SmallestFactor(dtype)) / 2 / fastest;
  return fastest < 0 && positions < 0x1p61 ? static_cast<int64_t>(positions)
                                           : kEndless;
}

// RoPE and xPos (docs/method.md section 1): pair i of a query at position p is
// rotated by p theta_i and scaled by zeta_i^((p - center) / scale_base), that
// of a key by the inverse factor. RoPE is zeta = 1.
class RotaryEncoding : public PositionEncoding {
 public:
  // Per pair: theta_i, and log(zeta_i) / scale_base. Queries and keys are
  // multiplied by `scale` as well.
  RotaryEncoding(std::vector<double> angles, std::vector<double> log_factors,
                 double scale, int64_t center, at::ScalarType dtype)
      : angles_(std::move(angles)),
        log_factors_(std::move(log_factors)),
        scale_(scale),
        reach_(FactorReach(log_factors_, dtype)),
        center_(std::min(center, reach_)),
        dtype_(dtype) {}

  int64_t key_span() const override {
    return reach_ == kEndless ? kEndless
                              : std::max<int64_t>(1, center_ + reach_ + 1);
  }

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
      // Like the kernels, writes without telling autograd
      // (causal_attention.cc).
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
    static const CudaKernel<RotatePairsCuda> kernel(&CudaKernels::rotate_pairs);
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
         .head_dim = in.size(3),
         .transposed = transposed},
        in.device());
  }

  const Table& TableUpTo(AttentionRole role, int64_t num_positions,
                         const at::Device& device) const {
    Table& table = role == AttentionRole::kQuery ? queries_ : keys_;
    const bool is_here = table.cos.defined() && table.cos.device() == device;
    const int64_t present = is_here ? table.cos.size(0) : 0;
    if (present < num_positions) {
      // Doubling keeps the total work linear as tables grow.
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
            role == AttentionRole::kQuery ? position - center_
                                          : center_ - position);
        for (int64_t i = 0; i < pairs; ++i) {
          double factor = scale_ * std::exp(exponent * log_factors_[i]);
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
  double scale_;
  int64_t reach_;
  int64_t center_;
  at::ScalarType dtype_;
  mutable Table queries_;
  mutable Table keys_;
};

// NONE, and the methods that add to the embedding.
class IdentityEncoding : public PositionEncoding {};

// Press et al. 2022: heads a power of two have slopes 2^(-8h/H), h = 1 .. H;
// otherwise the slopes of the lower power of two, and then the first, third, ..
// of the list for the next one.
std::vector<double> AlibiSlopes(int64_t num_heads) {
  const auto power =
      static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(num_heads)));
  std::vector<double> slopes;
  for (int64_t h = 1; h <= power; ++h) {
    slopes.push_back(std::exp2(-8.0 * h / power));
  }
  for (int64_t h = 1; std::ssize(slopes) < num_heads; h += 2) {
    slopes.push_back(std::exp2(-8.0 * h / (2 * power)));
  }
  return slopes;
}

class AlibiEncoding : public PositionEncoding {
 public:
  AlibiEncoding(const std::vector<double>& slopes, at::ScalarType dtype,
                const at::Device& device)
      : slopes_H_(CopyToDevice(at::tensor(slopes, dtype), device)) {}

  DistanceBias ScoreBias(Positions queries, Positions keys) const override {
    return {.slopes_H = slopes_H_, .queries = queries, .keys = keys};
  }

 private:
  at::Tensor slopes_H_;
};

std::unique_ptr<PositionEncoding> MakeAlibi(const ModelConfig& model,
                                            const Communicator* tensor_axis) {
  const std::vector<double> all = AlibiSlopes(model.num_heads());
  const int num_ranks = tensor_axis == nullptr ? 1 : tensor_axis->size();
  const int rank = tensor_axis == nullptr ? 0 : tensor_axis->rank();
  const int64_t heads = model.num_heads() / num_ranks;
  return std::make_unique<AlibiEncoding>(
      std::vector<double>(all.begin() + rank * heads,
                          all.begin() + (rank + 1) * heads),
      MasterType(model.precision()),
      tensor_axis == nullptr ? at::Device(at::kCPU) : tensor_axis->device());
}

// theta_i after scaling.
std::vector<double> Angles(const ModelConfig& model,
                           const AngleScaling& scaling) {
  const int64_t pairs = model.head_dim() / 2;
  const double s = scaling.factor;
  double base = model.rotary_base();
  if (scaling.method == RopeScaling::NTK && pairs > 1) {
    base *= std::pow(s, static_cast<double>(pairs) / (pairs - 1));
  }
  std::vector<double> angles(pairs);
  for (int64_t i = 0; i < pairs; ++i) {
    angles[i] = std::pow(base, -static_cast<double>(i) / pairs);
    if (scaling.method == RopeScaling::LINEAR) angles[i] /= s;
    if (scaling.method == RopeScaling::YARN) {
      // Turns of this pair within the training length: kept from 32 on, divided
      // below 1 (Peng et al. 2024, "YaRN", section 3.2).
      const double turns =
          model.training_length() * angles[i] / (2 * std::numbers::pi);
      const double kept = std::clamp((turns - 1) / (32 - 1), 0.0, 1.0);
      angles[i] = kept * angles[i] + (1 - kept) * angles[i] / s;
    }
  }
  return angles;
}

// log(zeta_i) / scale_base.
std::vector<double> LogFactors(const ModelConfig& model,
                               const AngleScaling& scaling) {
  const int64_t pairs = model.head_dim() / 2;
  std::vector<double> log_factors(pairs, 0.0);
  if (!FactsOf(model.position_encoding()).has_exponent) return log_factors;
  const double gamma = model.xpos_gamma();
  for (int64_t i = 0; i < pairs; ++i) {
    const double fraction = static_cast<double>(i) / static_cast<double>(pairs);
    log_factors[i] =
        std::log((fraction + gamma) / (1 + gamma)) / model.xpos_scale_base();
    if (scaling.scales_exponent) log_factors[i] /= scaling.factor;
  }
  return log_factors;
}

}  // namespace

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

int64_t PositionEncoding::key_span() const { return kEndless; }

DistanceBias PositionEncoding::ScoreBias(Positions queries,
                                         Positions keys) const {
  return {.queries = queries, .keys = keys};
}

std::unique_ptr<PositionEncoding> MakePositionEncoding(
    const ModelConfig& model, int64_t center, const Communicator* tensor_axis,
    const AngleScaling& scaling) {
  if (model.position_encoding() == ALIBI) return MakeAlibi(model, tensor_axis);
  if (!FactsOf(model.position_encoding()).rotates)
    return std::make_unique<IdentityEncoding>();
  const AngleScaling used = scaling.factor > 1 ? scaling : AngleScaling();
  // YaRN's temperature, applied to both queries and keys.
  const double scale =
      used.method == RopeScaling::YARN ? 0.1 * std::log(used.factor) + 1 : 1;
  return std::make_unique<RotaryEncoding>(
      Angles(model, used), LogFactors(model, used), scale, center,
      MasterType(model.precision()));
}

}  // namespace lextra

// e^x for vectorizable loops: no branches, no calls. x = n ln 2 + r with |r| <=
// ln 2 / 2, e^r by its Taylor series, 2^n by its bits. Relative error below
// 2e-7 (float) and 4e-16 (double) for what its callers need, x around 0 and
// below. Below kLowest the result stays at e^kLowest (about the smallest normal
// number); a NaN stays a NaN.
#ifndef LEXTRA_OPS_CPU_VECTOR_EXP_H_
#define LEXTRA_OPS_CPU_VECTOR_EXP_H_

#include <bit>
#include <cstdint>

#include "base/vector_clones.h"

namespace lextra {

template <typename Scalar>
struct ExponentialTraits;

template <>
struct ExponentialTraits<float> {
  using Bits = int32_t;
  static constexpr int kMantissaBits = 23;
  static constexpr Bits kExponentBias = 127;
  static constexpr float kLowest = -87.0f;
  // Adding 1.5 * 2^mantissa bits rounds to a whole number in the low bits.
  static constexpr float kRounder = 12582912.0f;
  // ln 2 = kLn2High + kLn2Low; n * kLn2High is exact.
  static constexpr float kLn2High = 0.693359375f;
  static constexpr float kLn2Low = -2.12194440054690583e-4f;
  static constexpr int kDegree = 7;
};

template <>
struct ExponentialTraits<double> {
  using Bits = int64_t;
  static constexpr int kMantissaBits = 52;
  static constexpr Bits kExponentBias = 1023;
  static constexpr double kLowest = -708.0;
  static constexpr double kRounder = 6755399441055744.0;
  static constexpr double kLn2High = 6.93145751953125e-1;
  static constexpr double kLn2Low = 1.42860682030941723212e-6;
  static constexpr int kDegree = 13;
};

constexpr double InverseFactorial(int n) {
  return n == 0 ? 1.0 : InverseFactorial(n - 1) / n;
}

// 1 / n! + r / (n + 1)! + ... + r^(degree - n) / degree!
template <int n, int degree, typename Scalar>
LEXTRA_ALWAYS_INLINE Scalar TaylorTail(Scalar r) {
  constexpr Scalar kCoefficient = Scalar(InverseFactorial(n));
  if constexpr (n == degree) {
    return kCoefficient;
  } else {
    return kCoefficient + r * TaylorTail<n + 1, degree>(r);
  }
}

template <typename Scalar>
LEXTRA_ALWAYS_INLINE Scalar Exponential(Scalar x) {
  using Traits = ExponentialTraits<Scalar>;
  using Bits = typename Traits::Bits;
  constexpr Scalar kLog2E = Scalar(1.44269504088896340736);
  x = x < Traits::kLowest ? Traits::kLowest : x;
  const Scalar rounded = x * kLog2E + Traits::kRounder;
  const Scalar n = rounded - Traits::kRounder;
  const Scalar r = x - n * Traits::kLn2High - n * Traits::kLn2Low;
  const Bits power = (std::bit_cast<Bits>(rounded) << Traits::kMantissaBits) +
                     (Traits::kExponentBias << Traits::kMantissaBits);
  return TaylorTail<0, Traits::kDegree>(r) * std::bit_cast<Scalar>(power);
}

}  // namespace lextra

#endif  // LEXTRA_OPS_CPU_VECTOR_EXP_H_

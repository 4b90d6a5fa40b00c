#include "tests/testing/golden.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>

namespace lextra::testing {

std::string SourceFolder() {
  const char* folder = std::getenv("LEXTRA_SOURCE_DIR");
  return folder != nullptr ? folder : ".";
}

std::string GoldenPath(const std::string& name) {
  return SourceFolder() + "/tests/golden/" + name;
}

NamedTensors Golden(const std::string& name) {
  absl::StatusOr<NamedTensors> tensors =
      ReadTensorFile(GoldenPath(name + ".safetensors"));
  EXPECT_TRUE(tensors.ok()) << tensors.status();
  return tensors.ok() ? *tensors : NamedTensors();
}

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return std::numeric_limits<double>::infinity();
  if (a.numel() == 0) return 0;
  const double difference =
      (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
  return difference == difference ? difference
                                  : std::numeric_limits<double>::infinity();
}

double RelativeDifference(const at::Tensor& a, const at::Tensor& reference) {
  const double scale =
      reference.numel() == 0
          ? 1
          : reference.to(at::kDouble).abs().max().item<double>();
  const double difference = MaxDifference(a, reference);
  return difference == 0 ? 0 : difference / scale;
}

}  // namespace lextra::testing

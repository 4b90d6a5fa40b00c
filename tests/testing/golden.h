// Reference vectors and comparisons; tolerances are in tolerances.h.
#ifndef LEXTRA_TESTS_TESTING_GOLDEN_H_
#define LEXTRA_TESTS_TESTING_GOLDEN_H_

#include <ATen/core/Tensor.h>

#include <string>

#include "checkpoint/tensor_file.h"
#include "tests/testing/temporary_folder.h"

namespace lextra::testing {

// The checkout, and a file of tests/golden/.
std::string SourceFolder();
std::string GoldenPath(const std::string& name);
// All tensors of tests/golden/NAME.safetensors. Fails the test if unreadable.
NamedTensors Golden(const std::string& name);

// max |a - b|, in fp64; infinity where shapes differ or either has a NaN.
double MaxDifference(const at::Tensor& a, const at::Tensor& b);
// max |a - b| / max |b|.
double RelativeDifference(const at::Tensor& a, const at::Tensor& reference);

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_TESTING_GOLDEN_H_

// The dtypes that model.precision stands for.
#ifndef LEXTRA_MODEL_PRECISION_H_
#define LEXTRA_MODEL_PRECISION_H_

#include <c10/core/ScalarType.h>

#include "config/run.pb.h"

namespace lextra {

// Of parameters as initialized, trained and saved, and of what must be as
// exact: masters, gradients, position tables.
inline at::ScalarType MasterType(Precision precision) {
  return precision == FP64 ? at::kDouble : at::kFloat;
}

// Of parameters and activations in forward and backward passes.
inline at::ScalarType ComputeType(Precision precision) {
  return precision == BF16 ? at::kBFloat16 : MasterType(precision);
}

}  // namespace lextra

#endif  // LEXTRA_MODEL_PRECISION_H_

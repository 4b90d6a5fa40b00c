// Initial weights. A tensor's bits depend only on the seed, its name and its
// shape: every rank creates the whole tensor and keeps its box, so every layout
// starts from the same bits.
#ifndef LEXTRA_MODEL_INITIALIZATION_H_
#define LEXTRA_MODEL_INITIALIZATION_H_

#include "config/run.pb.h"
#include "parallel/parameter.h"

namespace lextra {

// Biases are 0, weights of norms 1, other weights normal with init_std; the
// projections back to the residual stream (out_proj, fc2) with
// init_std / sqrt(2 num_layers). Under sub-LN v_proj, out_proj, fc1 and fc2 get
// a further factor sqrt(ln(2 num_layers)) (Wang et al. 2022, "Foundation
// Transformers"). Drawn on the CPU in fp32, then moved to `device` and widened
// for FP64: neither device nor precision changes them. `model` is resolved.
Initializer MakeInitializer(const ModelConfig& model, at::Device device);

}  // namespace lextra

#endif  // LEXTRA_MODEL_INITIALIZATION_H_

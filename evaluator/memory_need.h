// Whether plain causal attention, which needs all of a piece at once, fits into
// the memory that there is.
#ifndef LEXTRA_EVALUATOR_MEMORY_NEED_H_
#define LEXTRA_EVALUATOR_MEMORY_NEED_H_

#include <cstdint>

#include "base/status.h"
#include "config/run.pb.h"
#include "parallel/device_mesh.h"

namespace lextra {

// Bytes of tensors that scoring `num_places` places at once takes on a rank:
// what the attention and the feed forward of a layer make, from which malloc
// returns nothing in between. Measured on a CPU (4 layers, width 128): 10.4 kB
// a place from 16,384 to 65,536, where this says 10.8.
int64_t ScoringBytes(const ModelConfig& model, int num_tensor_ranks,
                     int64_t num_places);

// UsageError, the same on all ranks, if CAUSAL is among the masks and pieces of
// `num_places` places take more on some host, in some process or on some GPU
// than is left there. Collective.
absl::Status CheckMemory(const ModelConfig& model,
                         const EvaluationConfig& config, int64_t num_places,
                         DeviceMesh& mesh);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_MEMORY_NEED_H_

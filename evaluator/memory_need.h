// Whether plain causal attention, which holds a whole piece at once, fits into
// the available memory.
#ifndef LEXTRA_EVALUATOR_MEMORY_NEED_H_
#define LEXTRA_EVALUATOR_MEMORY_NEED_H_

#include <cstdint>

#include "base/status.h"
#include "config/run.pb.h"
#include "parallel/device_mesh.h"

namespace lextra {

// Bytes of tensors on a rank for scoring `num_places` places at once: the
// intermediates of a layer's attention and feed forward, none of which malloc
// returns in between. Measured on a CPU (4 layers, width 128): 10.4 kB per
// place from 16,384 to 65,536 places; this computes 10.8.
int64_t ScoringBytes(const ModelConfig& model, int num_tensor_ranks,
                     int64_t num_places);

// UsageError, the same on all ranks, if CAUSAL is among the masks and pieces of
// `num_places` places need more memory than is available on some host, in some
// process or on some GPU. Collective.
absl::Status CheckMemory(const ModelConfig& model,
                         const EvaluationConfig& config, int64_t num_places,
                         DeviceMesh& mesh);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_MEMORY_NEED_H_

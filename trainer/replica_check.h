// Finds copies of the model that have drifted apart. Ranks along the data axis
// hold bitwise identical parameters and optimizer state: they start identical
// and apply the same summed gradients. So do ranks along the tensor axis, for
// the parameters replicated over it (norms, biases after a sum): each computes
// their gradients itself, from the same numbers. A difference means that a
// processor or memory has changed a value silently, or that processors of the
// tensor axis compute differently.
#ifndef LEXTRA_TRAINER_REPLICA_CHECK_H_
#define LEXTRA_TRAINER_REPLICA_CHECK_H_

#include <cstdint>

#include "base/status.h"
#include "parallel/data_parallel/flat_parameters.h"
#include "parallel/device_mesh.h"
#include "trainer/optimizer/optimizer.h"

namespace lextra {

// Compares checksums (CRC-32C) of parameters and optimizer state among the
// ranks of each data axis, and those of the parameters replicated over the
// tensor axis among the ranks of each tensor axis. Other shards are not
// compared, nor is optimizer state of which each rank owns a part (ZeRO stage
// 1). NumericError, the same on all ranks of the world, names `step` and the
// ranks that differ from the majority of their replicas, or says that there is
// no majority. Collective over the world; reads the state once, the replicated
// part twice, and sends 32 bytes per rank.
absl::Status CheckReplicas(const FlatParameters& parameters,
                           const Optimizer& optimizer, DeviceMesh& mesh,
                           int64_t step);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_REPLICA_CHECK_H_

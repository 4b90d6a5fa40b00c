// Finds copies of the model that have drifted apart. Ranks along the data axis
// hold the same parameters and optimizer state to the last bit: they start
// alike and apply the same summed gradients. So do ranks along the tensor axis,
// of the parameters that it does not split (norms, biases after a sum): each
// makes their gradients itself, from the same numbers. A difference means that
// a processor or a memory has changed a value silently, or that ranks of the
// tensor axis have processors that compute differently.
#ifndef LEXTRA_TRAINER_REPLICA_CHECK_H_
#define LEXTRA_TRAINER_REPLICA_CHECK_H_

#include <cstdint>

#include "base/status.h"
#include "parallel/data_parallel/flat_parameters.h"
#include "parallel/device_mesh.h"
#include "trainer/optimizer/optimizer.h"

namespace lextra {

// Compares checksums (CRC-32C) of parameters and of optimizer state among the
// ranks of each data axis, and those of the parameters that the tensor axis
// does not split among the ranks of each tensor axis. Other shards are not
// compared, nor is optimizer state that each owns a part of (ZeRO stage 1).
// NumericError, the same on all ranks of the world, names `step` and the ranks
// that differ from most of their replicas, or says that none can be told to be
// right. Collective over the world; reads the state once, the part that is not
// split twice, and sends 32 bytes a rank.
absl::Status CheckReplicas(const FlatParameters& parameters,
                           const Optimizer& optimizer, DeviceMesh& mesh,
                           int64_t step);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_REPLICA_CHECK_H_

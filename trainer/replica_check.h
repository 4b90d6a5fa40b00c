// Finds copies of the model that have drifted apart. Ranks along the data axis
// hold the same parameters and optimizer state to the last bit: they start
// alike and apply the same summed gradients. A difference means that a
// processor or a memory has changed a value silently.
#ifndef LEXTRA_TRAINER_REPLICA_CHECK_H_
#define LEXTRA_TRAINER_REPLICA_CHECK_H_

#include <cstdint>

#include "base/status.h"
#include "parallel/device_mesh.h"
#include "parallel/flat_parameters.h"
#include "trainer/adamw.h"

namespace lextra {

// Compares checksums (CRC-32C) of parameters and of optimizer state among the
// ranks of each data axis; ranks that differ in another coordinate hold other
// shards and are not compared, nor is optimizer state that each owns a part of
// (ZeRO stage 1). NumericError, the same on all ranks of the
// world, names `step` and the ranks that differ from most of their replicas, or
// says that none can be told to be right. Collective over the world; reads the
// state once and sends 16 bytes a rank.
absl::Status CheckReplicas(const FlatParameters& parameters,
                           const AdamW& optimizer, DeviceMesh& mesh,
                           int64_t step);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_REPLICA_CHECK_H_

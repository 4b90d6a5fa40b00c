// From tensors to the bytes of a shard: what a rank stores of the tensors that
// it holds, and the copy that lets training go on while it is written.
#ifndef LEXTRA_CHECKPOINT_SNAPSHOT_H_
#define LEXTRA_CHECKPOINT_SNAPSHOT_H_

#include <vector>

#include "checkpoint/files/shard_file.h"
#include "parallel/parameter.h"

namespace lextra {

// What this rank stores of `tensors`. Of the replicas of a box one is stored;
// replicas take turns by name, so that all ranks share the writing. Tensors
// that the tensor axis splits are cut where any layout may cut them: at
// multiples of 1/max_tensor of their extent, `max_tensor` being the largest
// tensor degree of the model. So every layout reads whole boxes.
std::vector<TensorToStore> TensorsToStore(
    const std::vector<ShardedTensor>& tensors, int max_tensor);

// Copies what the image stores out of the same tensors. They may have any
// strides and device.
void FillImage(const std::vector<ShardedTensor>& tensors, ShardImage* image);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_SNAPSHOT_H_

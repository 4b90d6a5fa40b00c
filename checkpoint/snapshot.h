// From tensors to the bytes of a shard: what a rank stores of the tensors that
// it holds, and the snapshot that is written while training continues.
#ifndef LEXTRA_CHECKPOINT_SNAPSHOT_H_
#define LEXTRA_CHECKPOINT_SNAPSHOT_H_

#include <vector>

#include "checkpoint/files/shard_file.h"
#include "parallel/parameter.h"

namespace lextra {

// What this rank stores of `tensors`. Of the replicas of a box one is stored;
// the name selects which, so that all ranks share the writing. Tensors that the
// tensor axis splits are cut wherever any layout may cut them: at multiples of
// 1/max_tensor of their extent, where `max_tensor` is the largest tensor degree
// of the model. So every layout reads whole boxes.
std::vector<TensorToStore> TensorsToStore(
    const std::vector<ShardedTensor>& tensors, int max_tensor);

// Copies what the image stores from the same tensors, of any strides and
// device.
void FillImage(const std::vector<ShardedTensor>& tensors, ShardImage* image);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_SNAPSHOT_H_

// The ranks as a box: data x context x tensor. The tensor coordinate changes
// fastest, so tensor groups, which communicate most, are neighbors on a host:
// rank = (data * num_context + context) * num_tensor + tensor.
#ifndef LEXTRA_PARALLEL_DEVICE_MESH_H_
#define LEXTRA_PARALLEL_DEVICE_MESH_H_

#include <memory>

#include "base/status.h"
#include "parallel/communicator.h"

namespace lextra {

struct MeshShape {
  int data = 1;
  int context = 1;
  int tensor = 1;
};

class DeviceMesh {
 public:
  // Collective over `world`, which the mesh takes over. The axes are split from
  // `device_world`, a group of the same ranks in the same order, or from
  // `world` if it is null. UsageError if the shape does not multiply to the
  // number of ranks.
  static absl::StatusOr<std::unique_ptr<DeviceMesh>> Create(
      std::unique_ptr<Communicator> world, MeshShape shape,
      std::unique_ptr<Communicator> device_world = nullptr);
  DeviceMesh(const DeviceMesh&) = delete;

  const MeshShape& shape() const { return shape_; }
  // All ranks, for what the hosts agree on: always CPU tensors.
  Communicator& world() { return *world_; }
  // Device of the axes' tensors.
  at::Device device() const { return tensor_->device(); }
  // This rank's group along each axis: rank() is the coordinate.
  Communicator& data() { return *data_; }
  Communicator& context() { return *context_; }
  Communicator& tensor() { return *tensor_; }

  absl::Status Finalize();

 private:
  DeviceMesh() = default;

  MeshShape shape_;
  std::unique_ptr<Communicator> world_;
  std::unique_ptr<Communicator> device_world_;  // null: world_ is
  std::unique_ptr<Communicator> data_;
  std::unique_ptr<Communicator> context_;
  std::unique_ptr<Communicator> tensor_;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_DEVICE_MESH_H_

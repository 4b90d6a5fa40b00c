#include "parallel/device_mesh.h"

namespace lextra {

absl::StatusOr<std::unique_ptr<DeviceMesh>> DeviceMesh::Create(
    std::unique_ptr<Communicator> world, MeshShape shape,
    std::unique_ptr<Communicator> device_world) {
  const int64_t ranks =
      int64_t{shape.data} * int64_t{shape.context} * int64_t{shape.tensor};
  if (shape.data < 1 || shape.context < 1 || shape.tensor < 1 ||
      ranks != world->size()) {
    return UsageError(absl::StrFormat(
        "data %d x context %d x tensor %d make %d ranks, but the job has %d: "
        "change parallel.data, parallel.context and parallel.tensor, or the "
        "number of ranks (mpirun -np)",
        shape.data, shape.context, shape.tensor, ranks, world->size()));
  }
  const int rank = world->rank();
  const int tensor = rank % shape.tensor;
  const int context = rank / shape.tensor % shape.context;
  const int data = rank / shape.tensor / shape.context;

  std::unique_ptr<DeviceMesh> mesh(new DeviceMesh);
  mesh->shape_ = shape;
  Communicator& axes = device_world ? *device_world : *world;
  TORCH_CHECK(axes.rank() == rank && axes.size() == world->size(),
              "the device world has other ranks than the world");
  mesh->data_ = axes.Split(context * shape.tensor + tensor, rank, "data");
  mesh->context_ = axes.Split(data * shape.tensor + tensor, rank, "context");
  mesh->tensor_ = axes.Split(data * shape.context + context, rank, "tensor");
  mesh->device_world_ = std::move(device_world);
  mesh->world_ = std::move(world);
  return mesh;
}

absl::Status DeviceMesh::Finalize() {
  LEXTRA_RETURN_IF_ERROR(tensor_->Finalize());
  LEXTRA_RETURN_IF_ERROR(context_->Finalize());
  LEXTRA_RETURN_IF_ERROR(data_->Finalize());
  if (device_world_) LEXTRA_RETURN_IF_ERROR(device_world_->Finalize());
  return world_->Finalize();
}

}  // namespace lextra

#include "parallel/device_mesh.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

// The world ranks of a group, in its order.
std::vector<int64_t> Members(Communicator& group, int world_rank) {
  const at::Tensor all = at::empty({group.size()}, at::kLong);
  group.AllGather(all, at::full({1}, world_rank, at::kLong));
  return {all.const_data_ptr<int64_t>(),
          all.const_data_ptr<int64_t>() + all.numel()};
}

TEST(DeviceMesh, PlacesRanksWithTheTensorCoordinateFastest) {
  const int size = testing::Session().size();
  for (int data = 1; data <= size; ++data) {
    for (int context = 1; data * context <= size; ++context) {
      if (size % (data * context) != 0) continue;
      const int tensor = size / data / context;
      const std::unique_ptr<DeviceMesh> mesh = testing::MakeMesh(
          {.data = data, .context = context, .tensor = tensor});
      const int rank = mesh->world().rank();
      const int d = mesh->data().rank();
      const int s = mesh->context().rank();
      const int t = mesh->tensor().rank();
      EXPECT_EQ(rank, (d * context + s) * tensor + t);
      const auto rank_at = [&](int d, int s, int t) -> int64_t {
        return (d * context + s) * tensor + t;
      };
      std::vector<int64_t> along_data, along_context, along_tensor;
      for (int i = 0; i < data; ++i) along_data.push_back(rank_at(i, s, t));
      for (int i = 0; i < context; ++i) {
        along_context.push_back(rank_at(d, i, t));
      }
      for (int i = 0; i < tensor; ++i) along_tensor.push_back(rank_at(d, s, i));
      EXPECT_EQ(Members(mesh->data(), rank), along_data);
      EXPECT_EQ(Members(mesh->context(), rank), along_context);
      EXPECT_EQ(Members(mesh->tensor(), rank), along_tensor);
      EXPECT_TRUE(mesh->Finalize().ok());
    }
  }
}

TEST(DeviceMesh, RefusesAShapeThatDoesNotMakeTheJobsRanks) {
  const int size = testing::Session().size();
  for (const MeshShape shape :
       {MeshShape{.data = size + 1}, MeshShape{.data = size, .tensor = 2},
        MeshShape{.data = -size, .tensor = -1}, MeshShape{.data = 0}}) {
    const absl::StatusOr<std::unique_ptr<DeviceMesh>> mesh =
        DeviceMesh::Create(testing::Session().World(), shape);
    EXPECT_EQ(ExitCodeOf(mesh.status()), ExitCode::kUsage);
  }
}

}  // namespace
}  // namespace lextra

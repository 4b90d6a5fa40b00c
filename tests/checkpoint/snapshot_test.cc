#include "checkpoint/snapshot.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>

namespace lextra {
namespace {

ShardedTensor Matrix(int replica, int num_replicas, int split_dim) {
  return {.name = "w",
          .global_shape = {8, 6},
          .split_dim = split_dim,
          .box = {{4, 0}, {4, 6}},
          .replica = replica,
          .num_replicas = num_replicas,
          .tensor = at::arange(24, at::kFloat).view({4, 6})};
}

TEST(TensorsToStore, OneOfTheReplicasStoresABox) {
  int stored = 0;
  for (int replica = 0; replica < 3; ++replica) {
    const std::vector<TensorToStore> tensors =
        TensorsToStore({Matrix(replica, 3, -1)}, /*max_tensor=*/4);
    ASSERT_EQ(tensors.size(), 1u) << "every rank lists the tensor";
    EXPECT_EQ(tensors[0].dtype, "F32");
    EXPECT_EQ(tensors[0].global_shape, (std::vector<int64_t>{8, 6}));
    stored += static_cast<int>(tensors[0].boxes.size());
  }
  EXPECT_EQ(stored, 1);
}

TEST(TensorsToStore, SplitTensorsAreCutWhereAnyLayoutMayCutThem) {
  const std::vector<TensorToStore> tensors =
      TensorsToStore({Matrix(0, 1, 0)}, /*max_tensor=*/4);
  EXPECT_EQ(tensors[0].boxes,
            (std::vector<Box>{{{4, 0}, {2, 6}}, {{6, 0}, {2, 6}}}));
}

TEST(FillImage, CopiesTensorsOfAnyStridesInOrderOfTheirBoxes) {
  ShardedTensor transposed = Matrix(0, 1, 0);
  transposed.tensor = transposed.tensor.t().contiguous().t();
  ShardImage image(TensorsToStore({transposed}, /*max_tensor=*/4));
  FillImage({transposed}, &image);
  for (const ShardImage::Entry& entry : image.entries()) {
    std::vector<float> values(entry.box.num_elements());
    ASSERT_EQ(entry.num_bytes, std::ssize(values) * 4);
    std::memcpy(values.data(), image.data().data() + entry.begin,
                entry.num_bytes);
    for (int64_t i = 0; i < std::ssize(values); ++i) {
      EXPECT_EQ(values[i], (entry.box.offset[0] - 4) * 6 + i);
    }
  }
}

}  // namespace
}  // namespace lextra

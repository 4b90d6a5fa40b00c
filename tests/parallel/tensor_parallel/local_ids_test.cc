#include "parallel/tensor_parallel/local_ids.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace lextra {
namespace {

TEST(LocalIds, OfThisRanksRowsAreTheirPlaces) {
  const at::Tensor ids = at::tensor({4, 5, 7, 8, 0, 9}, at::kLong);
  const LocalIds local(ids, /*first=*/5, /*count=*/3);
  EXPECT_TRUE(local.outside.equal(
      at::tensor({1, 0, 0, 1, 1, 1}, at::kLong).to(at::kBool)));
  EXPECT_EQ(local.place[1].item<int64_t>(), 0);
  EXPECT_EQ(local.place[2].item<int64_t>(), 2);
}

TEST(LocalIds, OutsideAreSpreadOverTheRows) {
  const at::Tensor ids = at::arange(100, 400, at::kLong);
  const LocalIds local(ids, /*first=*/0, /*count=*/10);
  EXPECT_TRUE(local.outside.all().item<bool>());
  EXPECT_TRUE(((local.place >= 0) & (local.place < 10)).all().item<bool>());
  const at::Tensor counts = at::bincount(local.place, {}, 10);
  EXPECT_LE(counts.max().item<int64_t>(), 60) << "zeros go to the same row";
}

TEST(CheckIds, RefusesOtherDtypesAndIdsBeyondTheVocabulary) {
  CheckIds(at::tensor({0, 9}, at::kLong), 10, "ids");
  EXPECT_THROW(CheckIds(at::tensor({0, 10}, at::kLong), 10, "ids"), c10::Error);
  EXPECT_THROW(CheckIds(at::tensor({-1}, at::kLong), 10, "ids"), c10::Error);
  EXPECT_THROW(CheckIds(at::tensor({1}, at::kInt), 10, "ids"), c10::Error);
}

}  // namespace
}  // namespace lextra

// On the fakes of fake_gpu.h, where a collective is as slow as a test wants it.
// The trained results are compared in tests/trainer/zero_test.cc.
#include "parallel/data_parallel/parameter_gatherer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <optional>

#include "tests/parallel/nccl/fake_ranks.h"

namespace lextra::testing {
namespace {

using std::chrono::milliseconds;

constexpr int64_t kSize = 6;

// Three parameters of one bucket each on a rank of two. After its update each
// rank has its half of the values, all the same number.
struct Sharded {
  explicit Sharded(Rank& rank) : rank(rank) {
    std::vector<Parameter*> pointers;
    for (Parameter& parameter : parameters) {
      parameter.leaf = at::zeros({kSize}).requires_grad_(true);
      pointers.push_back(&parameter);
    }
    flat.emplace(pointers, FlatParameters::Options{
                               .bucket_bytes =
                                   kSize * static_cast<int64_t>(sizeof(float)),
                               .owner = rank.world->rank(),
                               .num_owners = rank.world->size()});
    gatherer.emplace(*flat, *rank.world);
  }

  void Update(double value) {
    for (const FlatParameters::Bucket& bucket : flat->buckets()) {
      flat->OwnPart(flat->values(), bucket).fill_(value);
    }
  }

  // What the current stream finds of a parameter.
  bool Is(size_t parameter, double value) {
    return rank.Seen(parameters[parameter].leaf.detach())
        .equal(at::full({kSize}, value, at::kFloat));
  }

  Rank& rank;
  std::array<Parameter, 3> parameters;
  std::optional<FlatParameters> flat;
  std::optional<ParameterGatherer> gatherer;
};

TEST(ParameterGatherer, WaitsForWhatIsUsedAndForNothingBehindIt) {
  RunRanks(2, [](Rank& rank) {
    Sharded sharded(rank);
    sharded.Update(5);
    rank.gpu.delay = milliseconds(200);
    sharded.gatherer->Start();
    sharded.gatherer->WaitFor({&sharded.parameters[0]});
    EXPECT_TRUE(sharded.Is(0, 5));
    EXPECT_FALSE(sharded.Is(2, 5)) << "its gather has 400 ms to go";
    sharded.gatherer->WaitFor({&sharded.parameters[1], &sharded.parameters[2]});
    EXPECT_TRUE(sharded.Is(1, 5));
    EXPECT_TRUE(sharded.Is(2, 5));
    sharded.gatherer->WaitFor({&sharded.parameters[2]});  // once more
    sharded.gatherer->Finish();
    rank.gpu.Synchronize();
  });
}

TEST(ParameterGatherer, FinishWaitsForAllAndTheNextUpdateIsGathered) {
  RunRanks(2, [](Rank& rank) {
    Sharded sharded(rank);
    rank.gpu.delay = milliseconds(30);
    for (const double value : {1.0, 2.0}) {
      sharded.Update(value);
      sharded.gatherer->Start();
      sharded.gatherer->Finish();
      for (size_t parameter = 0; parameter < 3; ++parameter) {
        EXPECT_TRUE(sharded.Is(parameter, value)) << parameter;
      }
    }
  });
}

// What was started is waited for, as a pending collective must be.
TEST(ParameterGatherer, MayEndWhileGathersAreUnderWay) {
  RunRanks(2, [](Rank& rank) {
    Sharded sharded(rank);
    rank.gpu.delay = milliseconds(30);
    sharded.Update(3);
    sharded.gatherer->Start();
    sharded.gatherer.reset();
    EXPECT_TRUE(sharded.Is(2, 3));
  });
}

}  // namespace
}  // namespace lextra::testing

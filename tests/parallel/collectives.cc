#include "tests/parallel/collectives.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace lextra::testing {

at::Tensor Numbers(int rank, int64_t count, at::ScalarType dtype) {
  return at::arange(rank + 1, rank + 1 + count, at::kLong)
      .remainder(11)
      .to(dtype);
}

at::Tensor Reduced(int size, int64_t count, ReduceOp op, at::ScalarType dtype) {
  std::vector<at::Tensor> all;
  for (int r = 0; r < size; ++r) all.push_back(Numbers(r, count, at::kDouble));
  const at::Tensor stacked = at::stack(all);
  switch (op) {
    case ReduceOp::kSum:
      return stacked.sum(0).to(dtype);
    case ReduceOp::kMax:
      return stacked.amax(0).to(dtype);
    case ReduceOp::kMin:
      return stacked.amin(0).to(dtype);
    case ReduceOp::kAverage:
      break;
  }
  // Divided in the dtype that adds.
  const at::ScalarType wide = dtype == at::kBFloat16 ? at::kFloat : dtype;
  return stacked.sum(0).to(wide).div_(size).to(dtype);
}

namespace {

constexpr int64_t kElements = 23;
constexpr at::ScalarType kReducible[] = {at::kFloat, at::kDouble, at::kBFloat16,
                                         at::kLong};
constexpr at::ScalarType kMovable[] = {at::kFloat, at::kDouble, at::kBFloat16,
                                       at::kLong,  at::kByte,   at::kBool};
constexpr ReduceOp kOps[] = {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin,
                             ReduceOp::kAverage};

void ForEachReduction(
    const std::function<void(at::ScalarType dtype, ReduceOp op)>& check) {
  for (const at::ScalarType dtype : kReducible) {
    for (const ReduceOp op : kOps) {
      if (op == ReduceOp::kAverage && dtype == at::kLong) continue;
      SCOPED_TRACE(::testing::Message()
                   << dtype << " op " << static_cast<int>(op));
      check(dtype, op);
    }
  }
}

void AllReduceIsExact(const TestedGroup& t) {
  ForEachReduction([&](at::ScalarType dtype, ReduceOp op) {
    const at::Tensor tensor =
        t.to_device(Numbers(t.group.rank(), kElements, dtype));
    t.group.AllReduce(tensor, op);
    EXPECT_TRUE(
        t.to_host(tensor).equal(Reduced(t.group.size(), kElements, op, dtype)));
  });
}

void ReduceScatterGivesEachRankItsPart(const TestedGroup& t) {
  const int64_t count = t.group.size() * kElements;
  ForEachReduction([&](at::ScalarType dtype, ReduceOp op) {
    const at::Tensor in = t.to_device(Numbers(t.group.rank(), count, dtype));
    const at::Tensor out = t.room(at::zeros({kElements}, dtype));
    t.group.ReduceScatter(out, in, op);
    EXPECT_TRUE(t.to_host(out).equal(
        Reduced(t.group.size(), count, op, dtype)
            .narrow(0, t.group.rank() * kElements, kElements)));
    EXPECT_TRUE(t.to_host(in).equal(Numbers(t.group.rank(), count, dtype)))
        << "the input changed";
  });
}

void Bfloat16IsAddedInFloatAndRoundedOnce(const TestedGroup& t) {
  // 256 + 1 is 256 in bfloat16: adding one by one would lose every 1.
  const at::Tensor tensor = t.to_device(
      at::full({5}, t.group.rank() == 0 ? 256.0 : 1.0, at::kBFloat16));
  t.group.AllReduce(tensor, ReduceOp::kSum);
  EXPECT_TRUE(t.to_host(tensor).equal(
      at::full({5}, 255.0 + t.group.size(), at::kFloat).to(at::kBFloat16)));
}

void AllGatherIsInRankOrder(const TestedGroup& t) {
  for (const at::ScalarType dtype : kMovable) {
    const at::Tensor out =
        t.room(at::zeros({t.group.size(), kElements}, dtype));
    t.group.AllGather(out,
                      t.to_device(Numbers(t.group.rank(), kElements, dtype)));
    const at::Tensor gathered = t.to_host(out);
    for (int r = 0; r < t.group.size(); ++r) {
      EXPECT_TRUE(gathered[r].equal(Numbers(r, kElements, dtype))) << dtype;
    }
  }
}

void BroadcastGivesTheRootsTensor(const TestedGroup& t) {
  for (const at::ScalarType dtype : kMovable) {
    for (int root = 0; root < t.group.size(); ++root) {
      const at::Tensor tensor =
          t.to_device(Numbers(t.group.rank(), kElements, dtype));
      t.group.Broadcast(tensor, root);
      EXPECT_TRUE(t.to_host(tensor).equal(Numbers(root, kElements, dtype)))
          << dtype << " of " << root;
    }
  }
}

void SendReceivePassesRoundTheRing(const TestedGroup& t) {
  const int size = t.group.size();
  const int left = (t.group.rank() + size - 1) % size;
  for (const at::ScalarType dtype : kMovable) {
    const int64_t sent_before = t.group.bytes_sent();
    const at::Tensor numbers = Numbers(t.group.rank(), kElements, dtype);
    const at::Tensor received = t.room(at::zeros({kElements}, dtype));
    t.group
        .SendReceiveAsync(t.to_device(numbers), (t.group.rank() + 1) % size,
                          received, left)
        .Wait();
    EXPECT_TRUE(t.to_host(received).equal(Numbers(left, kElements, dtype)))
        << dtype;
    EXPECT_EQ(t.group.bytes_sent() - sent_before, numbers.nbytes());
  }
}

void SendReceiveLeavesOutWhatHasNoTensorOrNoRank(const TestedGroup& t) {
  // A chain: the first rank receives nothing, the last one sends nothing.
  const int rank = t.group.rank();
  const bool is_first = rank == 0;
  const bool is_last = rank == t.group.size() - 1;
  const int64_t sent_before = t.group.bytes_sent();
  const at::Tensor received = t.room(at::full({kElements}, -1.0, at::kFloat));
  t.group.SendReceive(
      is_last ? at::Tensor() : t.to_device(Numbers(rank, kElements)),
      is_last ? -1 : rank + 1, received, rank - 1);
  EXPECT_TRUE(t.to_host(received).equal(
      is_first ? at::full({kElements}, -1.0, at::kFloat)
               : Numbers(rank - 1, kElements)));
  EXPECT_EQ(t.group.bytes_sent() - sent_before, is_last ? 0 : kElements * 4);
}

void SplitMakesGroupsOfAColorOrderedByKey(const TestedGroup& t) {
  const int rank = t.group.rank();
  const std::unique_ptr<Communicator> half =
      t.group.Split(rank % 2, -rank, "data");
  double sum = 0;
  int size = 0;
  for (int r = rank % 2; r < t.group.size(); r += 2, ++size) sum += r;
  EXPECT_EQ(half->size(), size);
  EXPECT_EQ(half->rank(), size - 1 - rank / 2) << "not by key";
  EXPECT_EQ(half->device(), t.group.device());
  const at::Tensor tensor =
      t.to_device(at::full({3}, static_cast<double>(rank), at::kFloat));
  half->AllReduce(tensor, ReduceOp::kSum);
  EXPECT_TRUE(t.to_host(tensor).equal(at::full({3}, sum, at::kFloat)));
  t.group.Barrier();
  EXPECT_TRUE(half->Finalize().ok());
}

void EmptyTensorsPass(const TestedGroup& t) {
  const at::Tensor nothing = t.to_device(at::empty({0}, at::kFloat));
  t.group.AllReduce(nothing, ReduceOp::kSum);
  t.group.AllGather(t.to_device(at::empty({t.group.size(), 0}, at::kFloat)),
                    nothing);
  t.group.Broadcast(nothing, 0);
}

}  // namespace

const CollectiveClaim kCollectiveClaims[kNumCollectiveClaims] = {
    {"AllReduceIsExact", AllReduceIsExact},
    {"ReduceScatterGivesEachRankItsPart", ReduceScatterGivesEachRankItsPart},
    {"Bfloat16IsAddedInFloatAndRoundedOnce",
     Bfloat16IsAddedInFloatAndRoundedOnce},
    {"AllGatherIsInRankOrder", AllGatherIsInRankOrder},
    {"BroadcastGivesTheRootsTensor", BroadcastGivesTheRootsTensor},
    {"SendReceivePassesRoundTheRing", SendReceivePassesRoundTheRing},
    {"SendReceiveLeavesOutWhatHasNoTensorOrNoRank",
     SendReceiveLeavesOutWhatHasNoTensorOrNoRank},
    {"SplitMakesGroupsOfAColorOrderedByKey",
     SplitMakesGroupsOfAColorOrderedByKey},
    {"EmptyTensorsPass", EmptyTensorsPass}};

}  // namespace lextra::testing

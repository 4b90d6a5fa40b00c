#include "trainer/replica_check.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/hash/crc32c.h"

namespace lextra {
namespace {

// Chunk in which device memory is copied to the host.
constexpr int64_t kChunkElements = int64_t{1} << 24;

uint32_t Checksum(const at::Tensor& flat, uint32_t crc) {
  TORCH_CHECK(flat.is_contiguous(), "Checksum expects a contiguous vector");
  const int64_t size = flat.numel();
  for (int64_t begin = 0; begin < size; begin += kChunkElements) {
    const at::Tensor chunk =
        flat.narrow(0, begin, std::min(kChunkElements, size - begin))
            .to(at::kCPU);
    crc = Crc32c(
        std::as_bytes(std::span(
            static_cast<const char*>(chunk.const_data_ptr()), chunk.nbytes())),
        crc);
  }
  return crc;
}

// World ranks by checksum: those with the same value agree.
using Groups = std::map<int64_t, std::vector<int>>;

std::string Ranks(const std::vector<int>& ranks) {
  return absl::StrCat(ranks.size() == 1 ? "rank " : "ranks ",
                      absl::StrJoin(ranks, ", "));
}

// Which replicas differ; empty if all agree.
std::string Difference(const Groups& groups) {
  if (groups.size() == 1) return "";
  std::vector<std::vector<int>> by_size;
  for (const auto& [crc, ranks] : groups) by_size.push_back(ranks);
  std::sort(by_size.begin(), by_size.end(),
            [](const std::vector<int>& a, const std::vector<int>& b) {
              return a.size() != b.size() ? a.size() > b.size() : a < b;
            });
  // Two ranks don't arrive at the same wrong bits: a single largest group is
  // right.
  const std::vector<int>& most = by_size[0];
  if (most.size() > by_size[1].size()) {
    std::vector<int> others;
    for (size_t i = 1; i < by_size.size(); ++i) {
      others.insert(others.end(), by_size[i].begin(), by_size[i].end());
    }
    std::sort(others.begin(), others.end());
    return absl::StrCat(Ranks(others), " against ", Ranks(most));
  }
  return absl::StrCat(
      absl::StrJoin(by_size, " against ",
                    [](std::string* out, const std::vector<int>& ranks) {
                      absl::StrAppend(out, Ranks(ranks));
                    }),
      " (can't tell which is right)");
}

// World ranks that hold the same data.
using Replicas = std::vector<std::vector<int>>;

Replicas AlongDataAxis(const MeshShape& shape) {
  const int shards = shape.context * shape.tensor;
  Replicas replicas(shards);
  for (int rank = 0; rank < shape.data * shards; ++rank) {
    replicas[rank % shards].push_back(rank);
  }
  return replicas;
}

Replicas AlongTensorAxis(const MeshShape& shape) {
  Replicas replicas(shape.data * shape.context);
  for (size_t i = 0; i < replicas.size(); ++i) {
    for (int tensor = 0; tensor < shape.tensor; ++tensor) {
      replicas[i].push_back(static_cast<int>(i) * shape.tensor + tensor);
    }
  }
  return replicas;
}

// The differences among replicas. `checksums` int64 [world].
std::string Differences(const at::Tensor& checksums, const Replicas& replicas) {
  std::vector<std::string> found;
  for (const std::vector<int>& ranks : replicas) {
    Groups groups;
    for (const int rank : ranks) {
      groups[checksums[rank].item<int64_t>()].push_back(rank);
    }
    std::string difference = Difference(groups);
    if (!difference.empty()) found.push_back(std::move(difference));
  }
  return absl::StrJoin(found, "; ");
}

// Of what is replicated over the tensor axis.
uint32_t ChecksumOfUnsplit(const FlatParameters& parameters,
                           const at::Tensor& flat, uint32_t crc) {
  for (const FlatParameters::Slot& slot : parameters.slots()) {
    if (slot.parameter->tensor_sharded) continue;
    crc = Checksum(flat.narrow(0, slot.begin, slot.size), crc);
  }
  return crc;
}

// This rank's checksums: parameters and optimizer state, then the same of what
// is replicated over the tensor axis.
at::Tensor ChecksumsOf(const FlatParameters& parameters,
                       const Optimizer& optimizer) {
  const int64_t updates = optimizer.num_updates();
  const uint32_t count = Crc32c(std::as_bytes(std::span(&updates, 1)));
  uint32_t state = count;
  uint32_t unsplit_state = count;
  // With several owners each has its own part.
  if (parameters.num_owners() == 1) {
    for (const Optimizer::State& part : optimizer.state()) {
      state = Checksum(part.flat, state);
      unsplit_state = ChecksumOfUnsplit(parameters, part.flat, unsplit_state);
    }
  }
  return at::tensor(
      {int64_t{Checksum(parameters.values(), 0)}, int64_t{state},
       int64_t{ChecksumOfUnsplit(parameters, parameters.values(), 0)},
       int64_t{unsplit_state}},
      at::kLong);
}

}  // namespace

absl::Status CheckReplicas(const FlatParameters& parameters,
                           const Optimizer& optimizer, DeviceMesh& mesh,
                           int64_t step) {
  // Every rank gets the checksums of the whole world, so all reach the same
  // verdict without further communication.
  Communicator& world = mesh.world();
  if (world.size() == 1) return absl::OkStatus();
  const at::Tensor mine = ChecksumsOf(parameters, optimizer).to(world.device());
  const at::Tensor gathered = at::empty({4 * world.size()}, mine.options());
  world.AllGather(gathered, mine);
  const at::Tensor all = gathered.to(at::kCPU).view({world.size(), 4});

  struct Comparison {
    const char* what;
    Replicas replicas;
  };
  const Replicas data = AlongDataAxis(mesh.shape());
  const Replicas tensor = AlongTensorAxis(mesh.shape());
  const Comparison comparisons[] = {
      {"parameters", data},
      {"optimizer state", data},
      {"parameters replicated over the tensor axis", tensor},
      {"optimizer state replicated over the tensor axis", tensor}};
  std::vector<std::string> found;
  for (int column = 0; column < 4; ++column) {
    const auto& [what, replicas] = comparisons[column];
    const std::string difference = Differences(all.select(1, column), replicas);
    if (!difference.empty()) {
      found.push_back(absl::StrCat(what, ": ", difference));
    }
  }
  if (found.empty()) return absl::OkStatus();
  return NumericError(absl::StrCat(
      "step ", step, ": replicas differ in ", absl::StrJoin(found, ", and in "),
      ". Either memory was corrupted silently, or hosts along the tensor axis "
      "compute differently. Resume from the last checkpoint and test the "
      "memory of the hosts of the ranks named first (env.json lists hosts by "
      "rank)"));
}

}  // namespace lextra

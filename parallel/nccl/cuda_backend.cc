#include "parallel/nccl/cuda_backend.h"

#include <unistd.h>

#include <cstdlib>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/host.h"
#include "ops/cuda_library.h"
#include "parallel/agreement.h"

namespace lextra {
namespace {

constexpr char kShareVariable[] = "LEXTRA_TEST_SHARE_GPU";

// The module's table and this rank's host, or why there is none.
struct Backend {
  GpuHost host;
  const CudaApi* api = nullptr;
};

absl::StatusOr<Backend> FindBackend() {
  Backend backend;
  LEXTRA_ASSIGN_OR_RETURN(backend.api, LoadCudaApi());
  backend.api->describe_host(backend.host);
  LEXTRA_RETURN_IF_ERROR(CheckGpuHost(backend.host));
  return backend;
}

bool MayShare() {
  const char* value = std::getenv(kShareVariable);
  return value != nullptr && std::string(value) == "1";
}

// NCCL rejects two ranks on one GPU ("Duplicate GPU detected") unless it
// believes that each is on its own host; then it can only use sockets. It reads
// these variables before its first call.
void PretendToBeAHost(int rank) {
  setenv("NCCL_HOSTID", absl::StrCat("rank", rank).c_str(), 1);
  setenv("NCCL_P2P_DISABLE", "1", 1);
  setenv("NCCL_SHM_DISABLE", "1", 1);
  setenv("NCCL_NET", "Socket", 1);
  setenv("NCCL_SOCKET_IFNAME", "lo", 0);
}

std::string CudaVersion(int version) {
  return absl::StrCat(version / 1000, ".", version % 1000 / 10);
}

// Major and minor.
std::string NcclVersion(int version) {
  return absl::StrCat(version / 10000, ".", version % 10000 / 100);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> MakeCudaCommunicator(
    Communicator& world) {
  const absl::StatusOr<Backend> backend = FindBackend();
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(
      world, WithContext(backend.status(), "host " + HostName())));

  // All ranks see the same texts and reach the same result.
  const std::vector<std::string> texts = GatherTexts(
      world,
      absl::StrCat(MayShare(), " ", absl::StrJoin(backend->host.gpus, " ")));
  bool may_share = true;
  std::vector<std::vector<std::string>> visible;
  std::map<std::string, int> num_ranks;
  for (const std::string& text : texts) {
    std::vector<std::string>& gpus =
        visible.emplace_back(absl::StrSplit(text, ' ', absl::SkipEmpty()));
    may_share = may_share && gpus.front() == "1";
    gpus.erase(gpus.begin());
  }
  LEXTRA_ASSIGN_OR_RETURN(const std::vector<int> devices,
                          ChooseDevices(visible, may_share));
  bool shared = false;
  for (int rank = 0; rank < world.size(); ++rank) {
    shared |= ++num_ranks[visible[rank][devices[rank]]] > 1;
  }
  if (shared) PretendToBeAHost(world.rank());

  return backend->api->make_communicator(world, devices[world.rank()]);
}

absl::Status CheckGpuHost(const GpuHost& host) {
  if (host.nccl_built / 100 != host.nccl_loaded / 100) {
    return UsageError(absl::StrFormat(
        "NCCL %s is loaded, but this build needs %s: another libnccl.so.2 is "
        "found before LibTorch's; check LD_LIBRARY_PATH",
        NcclVersion(host.nccl_loaded), NcclVersion(host.nccl_built)));
  }
  if (host.cuda_of_driver == 0) {
    return UsageError(absl::StrCat(
        "no NVIDIA driver is loaded: install one that supports CUDA ",
        CudaVersion(host.cuda_built), kOrCpu));
  }
  if (host.cuda_of_driver / 1000 < host.cuda_built / 1000) {
    return UsageError(absl::StrFormat(
        "the NVIDIA driver is too old: it supports CUDA %s, but this build "
        "needs %s; update the driver%s",
        CudaVersion(host.cuda_of_driver), CudaVersion(host.cuda_built),
        kOrCpu));
  }
  if (!host.gpus.empty()) return absl::OkStatus();
  const char* allowed = std::getenv("CUDA_VISIBLE_DEVICES");
  return UsageError(absl::StrFormat(
      "no GPU is visible (%s; CUDA_VISIBLE_DEVICES is %s): request GPUs for "
      "the job%s",
      host.error.empty() ? "cudaGetDeviceCount returned 0"
                         : "cudaGetDeviceCount: " + host.error,
      allowed == nullptr ? "not set" : absl::StrCat("\"", allowed, "\""),
      kOrCpu));
}

absl::StatusOr<std::vector<int>> ChooseDevices(
    const std::vector<std::vector<std::string>>& visible, bool may_share) {
  std::map<std::string, int> num_ranks;
  std::vector<int> devices;
  for (size_t rank = 0; rank < visible.size(); ++rank) {
    // The first GPU of those with the fewest ranks.
    int best = -1;
    for (size_t i = 0; i < visible[rank].size(); ++i) {
      if (best < 0 ||
          num_ranks[visible[rank][i]] < num_ranks[visible[rank][best]]) {
        best = static_cast<int>(i);
      }
    }
    if (best < 0 || (num_ranks[visible[rank][best]] > 0 && !may_share)) {
      return UsageError(absl::StrFormat(
          "rank %d has no free GPU: it sees %d, all in use by lower ranks; "
          "start at most one rank per GPU%s (tests may share one with %s=1)",
          rank, visible[rank].size(), kOrCpu, kShareVariable));
    }
    ++num_ranks[visible[rank][best]];
    devices.push_back(best);
  }
  return devices;
}

}  // namespace lextra

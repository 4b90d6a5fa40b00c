#include "evaluator/memory_need.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/host.h"
#include "base/math.h"
#include "base/memory.h"
#include "model/attention/document_mask.h"
#include "model/precision.h"
#include "ops/cuda_kernel.h"
#include "parallel/agreement.h"

namespace lextra {
namespace {

// Ranks on this host, including this one.
int64_t RanksOnThisHost(Communicator& world) {
  const std::string host = HostName();
  const std::vector<std::string> hosts = GatherTexts(world, host);
  return std::count(hosts.begin(), hosts.end(), host);
}

}  // namespace

int64_t ScoringBytes(const ModelConfig& model, int num_tensor_ranks,
                     int64_t num_places) {
  const int64_t heads = model.num_heads() / num_tensor_ranks;
  const int64_t kv_heads = model.num_kv_heads() / num_tensor_ranks;
  const int64_t inner = model.ffn_hidden_size() / num_tensor_ranks;
  // The residual stream, its branch, norms; packed queries, keys and values;
  // rotated queries and outputs; keys and values in transit, twice; the feed
  // forward before and after its activation, and SwiGLU's gate.
  const int64_t numbers =
      4 * int64_t{model.hidden_size()} +
      (heads + 2 * kv_heads + 2 * heads + 4 * kv_heads) * model.head_dim() +
      (model.activation() == SWIGLU ? 3 : 2) * inner;
  return num_places * numbers *
         static_cast<int64_t>(c10::elementSize(ComputeType(model.precision())));
}

absl::Status CheckMemory(const ModelConfig& model,
                         const EvaluationConfig& config, int64_t num_places,
                         DeviceMesh& mesh) {
  const bool holds_all =
      std::ranges::any_of(config.masks(), [&](const int kind) {
        return !MaskOf(static_cast<Mask>(kind), config).is_blockwise();
      });
  if (!holds_all) return absl::OkStatus();
  const int64_t ranks = RanksOnThisHost(mesh.world());
  const int64_t places = CeilDivide(num_places, mesh.context().size());
  const int64_t needed = ScoringBytes(model, mesh.tensor().size(), places);
  const bool on_gpu = mesh.device().is_cuda();
  const int64_t left =
      on_gpu ? LoadedCudaApi().bytes_left()
             : std::min(MemoryLeftToProcess(), MemoryLeftOnHost() / ranks);
  absl::Status status;
  if (needed > left) {
    status = UsageError(absl::StrFormat(
        "evaluation.masks has CAUSAL, which holds a whole piece in memory: %d "
        "tokens over parallel.context = %d need %.2f GiB per rank, but %.2f "
        "GiB are available%s; remove CAUSAL (the other masks hold one segment "
        "at any length), choose shorter evaluation.lengths, or increase "
        "parallel.context",
        num_places + 1, mesh.context().size(), InGib(needed), InGib(left),
        on_gpu ? " on its GPU" : ""));
  }
  return AgreeOnStatus(mesh.world(), status);
}

}  // namespace lextra

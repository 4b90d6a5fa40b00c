#include "parallel/nccl/nccl_linked.h"

#include <c10/cuda/CUDAGuard.h>
#include <nccl.h>

#include <cstring>

#include "absl/strings/str_cat.h"

namespace lextra {
namespace {

static_assert(static_cast<int>(NcclResult::kSuccess) == ncclSuccess);
static_assert(static_cast<int>(NcclResult::kUnhandledCudaError) ==
              ncclUnhandledCudaError);
static_assert(static_cast<int>(NcclResult::kSystemError) == ncclSystemError);
static_assert(static_cast<int>(NcclResult::kInternalError) ==
              ncclInternalError);
static_assert(static_cast<int>(NcclResult::kInvalidArgument) ==
              ncclInvalidArgument);
static_assert(static_cast<int>(NcclResult::kInvalidUsage) == ncclInvalidUsage);
static_assert(static_cast<int>(NcclResult::kRemoteError) == ncclRemoteError);
static_assert(static_cast<int>(NcclResult::kInProgress) == ncclInProgress);
static_assert(sizeof(NcclId) == sizeof(ncclUniqueId));

NcclResult ResultOf(ncclResult_t result) {
  return static_cast<NcclResult>(result);
}

ncclComm_t CommOf(NcclHandle handle) { return static_cast<ncclComm_t>(handle); }

cudaStream_t StreamOf(GpuStream stream) {
  return static_cast<cudaStream_t>(stream);
}

ncclDataType_t DatatypeOf(NcclType type) {
  switch (type) {
    case NcclType::kByte:
      return ncclUint8;
    case NcclType::kFloat:
      return ncclFloat;
    case NcclType::kDouble:
      return ncclDouble;
    case NcclType::kInt64:
      break;
  }
  return ncclInt64;
}

ncclRedOp_t OpOf(ReduceOp op) {
  switch (op) {
    case ReduceOp::kMax:
      return ncclMax;
    case ReduceOp::kMin:
      return ncclMin;
    case ReduceOp::kAverage:
      return ncclAvg;
    case ReduceOp::kSum:
      break;
  }
  return ncclSum;
}

class Linked : public NcclLibrary {
 public:
  explicit Linked(int device_index)
      : device_index_(static_cast<c10::DeviceIndex>(device_index)) {}

  NcclResult GetUniqueId(NcclId* id) override {
    ncclUniqueId made;
    const ncclResult_t result = ncclGetUniqueId(&made);
    std::memcpy(id->data(), &made, sizeof(made));
    return ResultOf(result);
  }

  NcclResult CommInitRank(NcclHandle* handle, int size, const NcclId& id,
                          int rank) override {
    const c10::cuda::CUDAGuard guard(device_index_);
    ncclUniqueId made;
    std::memcpy(&made, id.data(), sizeof(made));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t comm = nullptr;
    const ncclResult_t result =
        ncclCommInitRankConfig(&comm, size, made, rank, &config);
    *handle = comm;
    return ResultOf(result);
  }

  NcclResult CommGetAsyncError(NcclHandle handle, NcclResult* state) override {
    ncclResult_t asked = ncclSuccess;
    const ncclResult_t result = ncclCommGetAsyncError(CommOf(handle), &asked);
    *state = ResultOf(asked);
    return ResultOf(result);
  }

  NcclResult CommFinalize(NcclHandle handle) override {
    const c10::cuda::CUDAGuard guard(device_index_);
    return ResultOf(ncclCommFinalize(CommOf(handle)));
  }
  NcclResult CommDestroy(NcclHandle handle) override {
    const c10::cuda::CUDAGuard guard(device_index_);
    return ResultOf(ncclCommDestroy(CommOf(handle)));
  }
  // No guard: the watchdog's thread makes no other CUDA call.
  NcclResult CommAbort(NcclHandle handle) override {
    return ResultOf(ncclCommAbort(CommOf(handle)));
  }

  NcclResult GroupStart() override { return ResultOf(ncclGroupStart()); }
  NcclResult GroupEnd() override {
    const c10::cuda::CUDAGuard guard(device_index_);
    return ResultOf(ncclGroupEnd());
  }

  NcclResult AllReduce(const void* in, void* out, size_t count, NcclType type,
                       ReduceOp op, NcclHandle handle,
                       GpuStream stream) override {
    return ResultOf(ncclAllReduce(in, out, count, DatatypeOf(type), OpOf(op),
                                  CommOf(handle), StreamOf(stream)));
  }

  NcclResult ReduceScatter(const void* in, void* out, size_t out_count,
                           NcclType type, ReduceOp op, NcclHandle handle,
                           GpuStream stream) override {
    return ResultOf(ncclReduceScatter(in, out, out_count, DatatypeOf(type),
                                      OpOf(op), CommOf(handle),
                                      StreamOf(stream)));
  }

  NcclResult AllGather(const void* in, void* out, size_t in_count,
                       NcclType type, NcclHandle handle,
                       GpuStream stream) override {
    return ResultOf(ncclAllGather(in, out, in_count, DatatypeOf(type),
                                  CommOf(handle), StreamOf(stream)));
  }

  NcclResult Broadcast(const void* in, void* out, size_t count, NcclType type,
                       int root, NcclHandle handle, GpuStream stream) override {
    return ResultOf(ncclBroadcast(in, out, count, DatatypeOf(type), root,
                                  CommOf(handle), StreamOf(stream)));
  }

  NcclResult Send(const void* in, size_t count, NcclType type, int to,
                  NcclHandle handle, GpuStream stream) override {
    return ResultOf(ncclSend(in, count, DatatypeOf(type), to, CommOf(handle),
                             StreamOf(stream)));
  }

  NcclResult Receive(void* out, size_t count, NcclType type, int from,
                     NcclHandle handle, GpuStream stream) override {
    return ResultOf(ncclRecv(out, count, DatatypeOf(type), from, CommOf(handle),
                             StreamOf(stream)));
  }

  std::string ErrorText(NcclResult result, NcclHandle handle) override {
    const std::string meaning =
        ncclGetErrorString(static_cast<ncclResult_t>(result));
    const char* last = ncclGetLastError(CommOf(handle));
    if (last == nullptr || *last == '\0') return meaning;
    return absl::StrCat(meaning, " (", last, ")");
  }

 private:
  const c10::DeviceIndex device_index_;
};

}  // namespace

std::shared_ptr<NcclLibrary> LinkedNccl(int device_index) {
  return std::make_shared<Linked>(device_index);
}

int NcclVersionBuilt() { return NCCL_VERSION_CODE; }

int NcclVersionLoaded() {
  int version = 0;
  return ncclGetVersion(&version) == ncclSuccess ? version : 0;
}

}  // namespace lextra

// The calls of NCCL that NcclCommunicator makes: the linked library in the
// module lextra_cuda.so, a fake in tests.
#ifndef LEXTRA_PARALLEL_NCCL_NCCL_LIBRARY_H_
#define LEXTRA_PARALLEL_NCCL_NCCL_LIBRARY_H_

#include <array>
#include <cstddef>
#include <string>

#include "parallel/communicator.h"
#include "parallel/nccl/gpu_streams.h"

namespace lextra {

// The numbers are NCCL's.
enum class NcclResult {
  kSuccess = 0,
  kUnhandledCudaError = 1,
  kSystemError = 2,
  kInternalError = 3,
  kInvalidArgument = 4,
  kInvalidUsage = 5,
  kRemoteError = 6,
  kInProgress = 7,
};

enum class NcclType { kByte, kFloat, kDouble, kInt64 };

using NcclHandle = void*;  // ncclComm_t
using NcclId = std::array<char, 128>;

// Each function is NCCL's function of that name; counts in elements. One thread
// at a time per handle, and the calls of a group from one thread.
class NcclLibrary {
 public:
  virtual ~NcclLibrary() = default;

  virtual NcclResult GetUniqueId(NcclId* id) = 0;
  // With config.blocking = 0: calls return kInProgress while an NCCL thread
  // executes them, and CommGetAsyncError tells when they are done.
  virtual NcclResult CommInitRank(NcclHandle* handle, int size,
                                  const NcclId& id, int rank) = 0;
  virtual NcclResult CommGetAsyncError(NcclHandle handle,
                                       NcclResult* state) = 0;
  virtual NcclResult CommFinalize(NcclHandle handle) = 0;
  virtual NcclResult CommDestroy(NcclHandle handle) = 0;
  virtual NcclResult CommAbort(NcclHandle handle) = 0;

  virtual NcclResult GroupStart() = 0;
  virtual NcclResult GroupEnd() = 0;

  virtual NcclResult AllReduce(const void* in, void* out, size_t count,
                               NcclType type, ReduceOp op, NcclHandle handle,
                               GpuStream stream) = 0;
  virtual NcclResult ReduceScatter(const void* in, void* out, size_t out_count,
                                   NcclType type, ReduceOp op,
                                   NcclHandle handle, GpuStream stream) = 0;
  virtual NcclResult AllGather(const void* in, void* out, size_t in_count,
                               NcclType type, NcclHandle handle,
                               GpuStream stream) = 0;
  virtual NcclResult Broadcast(const void* in, void* out, size_t count,
                               NcclType type, int root, NcclHandle handle,
                               GpuStream stream) = 0;
  virtual NcclResult Send(const void* in, size_t count, NcclType type, int to,
                          NcclHandle handle, GpuStream stream) = 0;
  virtual NcclResult Receive(void* out, size_t count, NcclType type, int from,
                             NcclHandle handle, GpuStream stream) = 0;

  // What `result` means, and the last error. `handle` may be null.
  virtual std::string ErrorText(NcclResult result, NcclHandle handle) = 0;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_NCCL_NCCL_LIBRARY_H_

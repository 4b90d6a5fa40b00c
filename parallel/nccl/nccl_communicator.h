// The Communicator of GPU tensors, on NCCL.
//
// Collectives run on a stream of the communicator's own, in the order of the
// calls. Each starts when the current stream has come to where it was called
// (the event `ready`), and Wait() makes the current stream wait until it is
// through (the event `done`). So the host waits for nothing, Barrier() and
// Finalize() aside. Call and Wait() belong on one stream, that of the tensors.
#ifndef LEXTRA_PARALLEL_NCCL_NCCL_COMMUNICATOR_H_
#define LEXTRA_PARALLEL_NCCL_NCCL_COMMUNICATOR_H_

#include <functional>
#include <memory>
#include <string>

#include "parallel/communicator.h"
#include "parallel/nccl/exposed_communication.h"
#include "parallel/nccl/gpu_marks.h"
#include "parallel/nccl/gpu_streams.h"
#include "parallel/nccl/nccl_library.h"

namespace lextra {

// One GPU and how it is reached.
struct GpuBackend {
  at::Device device;
  std::shared_ptr<NcclLibrary> nccl;
  // Another own stream for each communicator.
  std::function<std::shared_ptr<GpuStreams>()> make_streams;
  // Of all its communicators.
  std::shared_ptr<ExposedCommunication> waits =
      std::make_shared<ExposedCommunication>();
  // Those of all its communicators; null: the first communicator makes them.
  std::shared_ptr<GpuMarks> marks = nullptr;
};

// The ranks of `host`, a communicator of CPU tensors, which is taken: it brings
// NCCL's id to all ranks and carries Barrier and Split. Collective. A group of
// one rank makes no communicator of NCCL.
std::unique_ptr<Communicator> MakeNcclCommunicator(
    std::unique_ptr<Communicator> host, GpuBackend backend, std::string axis,
    GroupIdentity identity);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_NCCL_NCCL_COMMUNICATOR_H_

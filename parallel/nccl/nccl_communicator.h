// The Communicator of GPU tensors, on NCCL.
//
// Collectives run on a stream of the communicator's own, in the order of the
// calls. Each starts when the current stream has reached the call (the event
// `ready`), and Wait() makes the current stream wait for its completion (the
// event `done`). So the host never waits, except in Barrier() and Finalize().
// Call and Wait() must be on the same stream, that of the tensors.
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

// One GPU and how to use it.
struct GpuBackend {
  at::Device device;
  std::shared_ptr<NcclLibrary> nccl;
  // A new own stream for each communicator.
  std::function<std::shared_ptr<GpuStreams>()> make_streams;
  // Shared by all its communicators.
  std::shared_ptr<ExposedCommunication> waits =
      std::make_shared<ExposedCommunication>();
  // Shared by all its communicators; null: the first one creates them.
  std::shared_ptr<GpuMarks> marks = nullptr;
};

// The ranks of `host`, a communicator of CPU tensors that it takes over for
// sharing NCCL's id, Barrier and Split. Collective. A group of one rank creates
// no NCCL communicator.
std::unique_ptr<Communicator> MakeNcclCommunicator(
    std::unique_ptr<Communicator> host, GpuBackend backend, std::string axis,
    GroupIdentity identity);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_NCCL_NCCL_COMMUNICATOR_H_

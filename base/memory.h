// Memory of the process and the host.
#ifndef LEXTRA_BASE_MEMORY_H_
#define LEXTRA_BASE_MEMORY_H_

#include <cstdint>

namespace lextra {

// From now on malloc keeps freed memory instead of returning it to the system,
// so that tensors and MPI buffers of every step get pages that are already
// mapped. Otherwise page faults take a twentieth of a training step on a CPU.
void KeepFreedMemory();

// Bytes that this process may still allocate under its own limits (RLIMIT_DATA,
// RLIMIT_AS).
int64_t MemoryLeftToProcess();
// Bytes that all processes of this host may still use: MemAvailable, or what
// the limits of this process's control groups leave (base/control_groups.h).
int64_t MemoryLeftOnHost();

inline double InGib(int64_t bytes) {
  return static_cast<double>(bytes) / (int64_t{1} << 30);
}

}  // namespace lextra

#endif  // LEXTRA_BASE_MEMORY_H_

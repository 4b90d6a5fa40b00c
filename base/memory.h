// How the process asks the system for memory.
#ifndef LEXTRA_BASE_MEMORY_H_
#define LEXTRA_BASE_MEMORY_H_

#include <cstdint>

namespace lextra {

// From here on malloc keeps what is freed instead of returning it: tensors and
// MPI's buffers of every step get memory that is mapped already. Otherwise page
// faults are a twentieth of a training step on a CPU.
void KeepFreedMemory();

// Bytes that this process may still ask for under its own limits (RLIMIT_DATA,
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

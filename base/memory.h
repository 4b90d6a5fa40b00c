// How the process asks the system for memory.
#ifndef LEXTRA_BASE_MEMORY_H_
#define LEXTRA_BASE_MEMORY_H_

#include <cstdint>

namespace lextra {

// From here on malloc keeps what is freed instead of returning it: tensors and
// MPI's buffers of every step get memory that is mapped already. Otherwise page
// faults are a twentieth of a training step on a CPU.
void KeepFreedMemory();

// Bytes that this process may still ask for: the least that the limits of the
// process (RLIMIT_DATA, RLIMIT_AS) and of its control group (version 2) leave.
int64_t MemoryLeftToProcess();
// Bytes that all processes of this host may still use (MemAvailable).
int64_t MemoryLeftOnHost();

}  // namespace lextra

#endif  // LEXTRA_BASE_MEMORY_H_

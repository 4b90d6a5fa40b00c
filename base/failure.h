// Aborting a job that cannot continue. One rank's failure ends all ranks: a
// peer that waits in a collective would otherwise wait forever.
#ifndef LEXTRA_BASE_FAILURE_H_
#define LEXTRA_BASE_FAILURE_H_

#include <functional>
#include <string_view>

#include "base/status.h"

namespace lextra {

// What ends the other ranks (MPI_Abort). Set once, when MPI is up.
void SetAbortHandler(void (*abort_all_ranks)(int exit_code));

// Prints `message` with this rank's name and ends all ranks. For errors of MPI,
// NCCL and CUDA and for exceptions that reach main: no rank can continue. Any
// thread may call it. Before the abort it calls `release`, which frees what
// other processes or devices may wait for. This process ends within seconds
// even if the handler or `release` hangs.
[[noreturn]] void AbortAllRanks(ExitCode code, std::string_view message,
                                const std::function<void()>& release = nullptr);

}  // namespace lextra

#endif  // LEXTRA_BASE_FAILURE_H_

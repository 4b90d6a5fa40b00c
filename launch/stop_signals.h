// Requests to stop: SIGUSR1 and SIGTERM. mpirun forwards SIGUSR1 to all ranks
// at once; SIGTERM leaves them about a second. The first of each asks for a
// checkpoint and an orderly end; the second of the same ends the process.
#ifndef LEXTRA_LAUNCH_STOP_SIGNALS_H_
#define LEXTRA_LAUNCH_STOP_SIGNALS_H_

namespace lextra {

void CatchStopSignals();
// Whether one has come.
bool StopIsWanted();

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_STOP_SIGNALS_H_

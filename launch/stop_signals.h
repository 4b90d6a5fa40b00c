// Requests to stop. The first signal of each kind requests a graceful shutdown;
// a second of the same kind ends the process.
#ifndef LEXTRA_LAUNCH_STOP_SIGNALS_H_
#define LEXTRA_LAUNCH_STOP_SIGNALS_H_

namespace lextra {

// For ranks, which then save a checkpoint: SIGUSR1 and SIGTERM. mpirun forwards
// SIGUSR1 to all ranks immediately; SIGTERM leaves them about a second.
void CatchStopSignals();
// For a command without ranks, which then removes its temporary files: SIGINT
// (Ctrl-C), SIGTERM and SIGHUP (the terminal closed). Signals that were ignored
// when the process started (by nohup) stay ignored.
void CatchInterrupts();
// Whether one has arrived.
bool StopIsWanted();

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_STOP_SIGNALS_H_

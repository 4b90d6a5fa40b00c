// Requests to stop. The first signal of each kind asks for an orderly end; the
// second of the same ends the process.
#ifndef LEXTRA_LAUNCH_STOP_SIGNALS_H_
#define LEXTRA_LAUNCH_STOP_SIGNALS_H_

namespace lextra {

// Of ranks, which save a checkpoint then: SIGUSR1 and SIGTERM. mpirun forwards
// SIGUSR1 to all ranks at once; SIGTERM leaves them about a second.
void CatchStopSignals();
// Of a command without ranks, which removes its temporary files then: SIGINT
// (Ctrl-C), SIGTERM and SIGHUP (the terminal has gone). What was ignored when
// the process started (by nohup) stays so.
void CatchInterrupts();
// Whether one has come.
bool StopIsWanted();

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_STOP_SIGNALS_H_

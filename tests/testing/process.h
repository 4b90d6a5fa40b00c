// Commands run by a test as a person would run them: what they print, how they
// end, and the processes that they start.
#ifndef LEXTRA_TESTS_TESTING_PROCESS_H_
#define LEXTRA_TESTS_TESTING_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace lextra::testing {

struct ProcessResult {
  int exit_code = -1;  // 128 + signal where a signal ended it, as in a shell
  bool timed_out = false;
  double seconds = 0;
  std::string output;  // stdout and stderr as they came
};

// A running command. One that still runs when the object goes, or runs past its
// limit, is killed with all its descendants.
class Process {
 public:
  // `command[0]` is a path or a name in PATH. The environment is the test's.
  explicit Process(const std::vector<std::string>& command);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  pid_t pid() const { return pid_; }
  std::string Output() const;  // so far
  // True when the command has ended; does not wait.
  bool HasEnded();
  // Returns when it has ended; call it once.
  ProcessResult Wait(double limit_seconds);

 private:
  void KillAll();

  pid_t pid_ = -1;
  int output_ = -1;  // a file in memory, which never fills up like a pipe
  double start_seconds_ = 0;
  bool ended_ = false;
  int wait_status_ = 0;
};

// Process(command).Wait(limit_seconds).
ProcessResult RunProcess(const std::vector<std::string>& command,
                         double limit_seconds);

// Processes whose parent is `parent`, by number.
std::vector<pid_t> ChildrenOf(pid_t parent);

// False for a process that is gone or only waits to be reaped.
bool IsAlive(pid_t pid);

// Waits for the end of all of them. False if one is alive after the limit.
bool WaitUntilGone(const std::vector<pid_t>& pids, double limit_seconds);

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_TESTING_PROCESS_H_

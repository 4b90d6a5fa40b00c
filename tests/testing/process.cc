#include "tests/testing/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

namespace lextra::testing {
namespace {

constexpr std::chrono::milliseconds kPollInterval(5);

double Now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// What /proc/PID/stat says of a process.
struct ProcessState {
  char state = 0;  // 'Z': ended, not yet reaped
  pid_t parent = 0;
};

std::optional<ProcessState> StateOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  // The name, in brackets, may hold anything: what follows it starts behind the
  // last bracket.
  std::istringstream rest(line.substr(line.rfind(')') + 1));
  ProcessState state;
  rest >> state.state >> state.parent;
  return state;
}

std::vector<pid_t> DescendantsOf(pid_t ancestor) {
  std::vector<pid_t> found = ChildrenOf(ancestor);
  for (size_t i = 0; i < found.size(); ++i) {
    const std::vector<pid_t> children = ChildrenOf(found[i]);
    found.insert(found.end(), children.begin(), children.end());
  }
  return found;
}

// In the new process; only calls that are safe after a fork.
[[noreturn]] void Execute(char* const* arguments, int output) {
  setpgid(0, 0);
  // A shell's background jobs ignore it, and so would all that they start.
  signal(SIGINT, SIG_DFL);
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  execvp(arguments[0], arguments);
  _exit(127);
}

}  // namespace

Process::Process(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  // Closed at exec, but for the copies made as stdout and stderr.
  output_ = memfd_create("output", MFD_CLOEXEC);
  fcntl(output_, F_SETFL, O_APPEND);
  start_seconds_ = Now();
  pid_ = fork();
  if (pid_ == 0) Execute(arguments.data(), output_);
}

Process::~Process() {
  if (!HasEnded()) {
    KillAll();
    waitpid(pid_, nullptr, 0);
  }
  close(output_);
}

std::string Process::Output() const {
  std::string text(static_cast<size_t>(lseek(output_, 0, SEEK_END)), '\0');
  const ssize_t size = pread(output_, text.data(), text.size(), 0);
  text.resize(static_cast<size_t>(std::max<ssize_t>(0, size)));
  return text;
}

bool Process::HasEnded() {
  if (!ended_) ended_ = waitpid(pid_, &wait_status_, WNOHANG) != 0;
  return ended_;
}

ProcessResult Process::Wait(double limit_seconds) {
  ProcessResult result;
  while (!HasEnded()) {
    if (!result.timed_out && Now() - start_seconds_ > limit_seconds) {
      result.timed_out = true;
      KillAll();
    }
    std::this_thread::sleep_for(kPollInterval);
  }
  result.seconds = Now() - start_seconds_;
  result.exit_code = WIFEXITED(wait_status_) ? WEXITSTATUS(wait_status_)
                                             : 128 + WTERMSIG(wait_status_);
  result.output = Output();
  return result;
}

// mpirun puts its ranks into process groups of their own, so they are looked up
// before their parent goes.
void Process::KillAll() {
  const std::vector<pid_t> descendants = DescendantsOf(pid_);
  kill(-pid_, SIGKILL);
  kill(pid_, SIGKILL);
  for (const pid_t pid : descendants) kill(pid, SIGKILL);
}

ProcessResult RunProcess(const std::vector<std::string>& command,
                         double limit_seconds) {
  return Process(command).Wait(limit_seconds);
}

std::vector<pid_t> ChildrenOf(pid_t parent) {
  std::vector<pid_t> children;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc", error)) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0) continue;
    const std::optional<ProcessState> state = StateOf(pid);
    if (state && state->parent == parent) children.push_back(pid);
  }
  std::sort(children.begin(), children.end());
  return children;
}

bool IsAlive(pid_t pid) {
  const std::optional<ProcessState> state = StateOf(pid);
  return state && state->state != 'Z' && state->state != 'X';
}

bool WaitUntilGone(const std::vector<pid_t>& pids, double limit_seconds) {
  const double start = Now();
  while (std::any_of(pids.begin(), pids.end(), IsAlive)) {
    if (Now() - start > limit_seconds) return false;
    std::this_thread::sleep_for(kPollInterval);
  }
  return true;
}

}  // namespace lextra::testing

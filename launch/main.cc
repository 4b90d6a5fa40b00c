// lextra <command> ...: see commands.h.
#include <c10/util/Exception.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <map>

#include "base/failure.h"
#include "base/io/mapped_range.h"
#include "base/log.h"
#include "launch/commands.h"
#include "launch/same_start.h"
#include "launch/version.h"

namespace lextra {
namespace {

constexpr char kUsage[] =
    R"(usage: lextra COMMAND [--flag=value ...] [section.field=value ...]

Train short, evaluate long, on a cluster.

commands:
  prepare      text, JSON lines, .gz -> token data set      one process
  synthesize   token data set of a synthetic task           one process
  train        data x tensor parallel training              mpirun -np D*T
  evaluate     long documents, spread over the ranks        mpirun -np D*S*T
  checkpoint   list | show | verify | copy | import         one process
  report       evaluations as one page and one table        one process

`lextra COMMAND --help` explains a command.
`lextra --version` shows what the program was built with.
)";

using LocalCommand = absl::Status (*)(const std::vector<std::string>&);
using RankedCommand = absl::Status (*)(Session&,
                                       const std::vector<std::string>&);

// One line, only on rank 0: the status is the same on all ranks.
int Report(const absl::Status& status, int rank) {
  const ExitCode code = ExitCodeOf(status);
  if (!status.ok() && rank == 0) {
    std::fprintf(stderr, "lextra: %s%s\n",
                 code == ExitCode::kPreempted ? "" : "error: ",
                 std::string(status.message()).c_str());
  }
  return static_cast<int>(code);
}

int RunRanked(RankedCommand command, int argc, char** argv,
              const std::vector<std::string>& arguments) {
  absl::StatusOr<std::unique_ptr<MpiSession>> mpi =
      MpiSession::Start(&argc, &argv);
  if (!mpi.ok()) return Report(mpi.status(), 0);
  Session session = {.mpi = *std::move(mpi), .watchdog = nullptr};
  absl::Status status = CheckSameStart(*session.mpi, {argv + 1, argv + argc});
  if (status.ok()) status = command(session, arguments);
  const int code = Report(status, session.mpi->rank());
  EndSession(session);
  return code;
}

int Main(int argc, char** argv) {
  const std::map<std::string, LocalCommand> local = {
      {"prepare", RunPrepare},
      {"synthesize", RunSynthesize},
      {"checkpoint", RunCheckpoint},
      {"report", RunReport}};
  const std::map<std::string, RankedCommand> ranked = {
      {"train", RunTrain}, {"evaluate", RunEvaluate}};
  const std::string name = argc > 1 ? argv[1] : "--help";
  if (name == "--help") {
    PrintResult(kUsage);
    return argc > 1 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  if (name == "--version") {
    PrintResult(VersionLine() + "\n");
    return 0;
  }
  const std::vector<std::string> arguments(argv + 2, argv + argc);
  if (const auto it = local.find(name); it != local.end()) {
    return Report(it->second(arguments), 0);
  }
  if (const auto it = ranked.find(name); it != ranked.end()) {
    return RunRanked(it->second, argc, argv, arguments);
  }
  return Report(UsageError("unknown command '" + name +
                           "', expected one of: prepare, synthesize, train, "
                           "evaluate, checkpoint, report"),
                0);
}

}  // namespace
}  // namespace lextra

int main(int argc, char** argv) {
  // A file at the process's size limit is then an error of its write.
  std::signal(SIGXFSZ, SIG_IGN);
  lextra::NameFilesOfBusErrors();
  // An exception on one rank must not leave the others in a collective.
  try {
    return lextra::Main(argc, argv);
  } catch (const c10::Error& error) {
    lextra::AbortAllRanks(lextra::ExitCode::kCommunication,
                          error.what_without_backtrace());
  } catch (const std::exception& error) {
    lextra::AbortAllRanks(lextra::ExitCode::kCommunication, error.what());
  }
}

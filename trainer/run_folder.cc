#include "trainer/run_folder.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/io/files.h"
#include "checkpoint/files/step_folders.h"
#include "config/load.h"
#include "parallel/agreement.h"

namespace lextra {
namespace {

// What earlier starts may have left under a temporary name; the last two are
// appended to today.
constexpr std::string_view kReplacedFiles[] = {"config.textproto", "env.json",
                                               "metrics.jsonl", "cmdline.txt"};

// An argument in one line of text: one that holds control characters is escaped
// as in C.
std::string ShownArgument(const std::string& argument) {
  const bool is_plain = std::none_of(
      argument.begin(), argument.end(), [](unsigned char character) {
        return character < 0x20 || character == 0x7f;
      });
  return is_plain ? argument : absl::Utf8SafeCEscape(argument);
}

std::vector<std::string> ShownArguments(
    const std::vector<std::string>& arguments) {
  std::vector<std::string> shown;
  for (const std::string& argument : arguments) {
    shown.push_back(ShownArgument(argument));
  }
  return shown;
}

// Whether this rank sees rank 0's lock: the folder that rank 0 took.
absl::Status CheckShared(const std::string& run_folder,
                         const std::string& nonce) {
  absl::StatusOr<std::string> seen = ReadLockNonce(run_folder);
  // Retry once, for a transient error of a device or server.
  if (ExitCodeOf(seen.status()) == ExitCode::kStorage) {
    seen = ReadLockNonce(run_folder);
  }
  if (ExitCodeOf(seen.status()) == ExitCode::kStorage) return seen.status();
  if (seen.ok() && *seen == nonce) return absl::OkStatus();
  return UsageError(absl::StrCat(
      "--run_dir=", run_folder,
      ": this rank does not see the folder that rank 0 created (",
      seen.ok() ? "its LOCK belongs to another job" : seen.status().message(),
      "); choose a --run_dir on storage shared by all hosts"));
}

// The whole environment may hold secrets; these explain how ranks were started.
nlohmann::ordered_json LaunchVariables() {
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    for (const std::string_view prefix :
         {"NCCL_", "OMPI_", "SLURM_", "CUDA_"}) {
      if (!text.starts_with(prefix)) continue;
      const size_t equals = text.find('=');
      variables[std::string(text.substr(0, equals))] =
          text.substr(std::min(text.size(), equals + 1));
    }
  }
  return variables;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RunLock>> TakeRunFolder(
    Communicator& world, const std::string& run_folder,
    const std::string& run_id) {
  std::unique_ptr<RunLock> lock;
  LEXTRA_ASSIGN_OR_RETURN(
      const std::string nonce,
      LoadOnRankZero(world, [&]() -> absl::StatusOr<std::string> {
        LEXTRA_RETURN_IF_ERROR(MakeFolders(run_folder));
        LEXTRA_ASSIGN_OR_RETURN(lock, RunLock::Acquire(run_folder, run_id));
        LEXTRA_RETURN_IF_ERROR(RemoveLeftovers(run_folder));
        LEXTRA_RETURN_IF_ERROR(RemoveTemporaries(run_folder, kReplacedFiles));
        return lock->nonce();
      }));
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(world, CheckShared(run_folder, nonce)));
  return lock;
}

absl::Status RecordOrigin(const std::string& run_folder,
                          const RunConfig& config, const RunOrigin& origin) {
  const std::string date = UtcTime();
  const std::vector<std::string> command = ShownArguments(origin.command);
  LEXTRA_RETURN_IF_ERROR(AtomicWrite(
      run_folder + "/config.textproto",
      absl::StrCat("# proto-file: config/run.proto\n",
                   "# proto-message: lextra.RunConfig\n# ", origin.versions,
                   "\n# ", date, "\n# ", absl::StrJoin(command, " "), "\n",
                   RunConfigText(config))));

  const std::string command_path = run_folder + "/cmdline.txt";
  const bool is_first = !std::filesystem::exists(command_path);
  LEXTRA_RETURN_IF_ERROR(AppendToFile(
      command_path, absl::StrCat(is_first ? "" : "\n", "# ", date, "\n",
                                 absl::StrJoin(command, "\n"), "\n")));

  nlohmann::ordered_json environment;
  environment["versions"] = origin.versions;
  environment["hosts"] = origin.rank_hosts;
  environment["variables"] = LaunchVariables();
  return AtomicWrite(
      run_folder + "/env.json",
      environment.dump(2, ' ', false,
                       nlohmann::json::error_handler_t::replace) +
          "\n");
}

}  // namespace lextra

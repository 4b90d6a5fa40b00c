#include "trainer/run_folder.h"

#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "checkpoint/step_folders.h"
#include "config/load.h"
#include "parallel/agreement.h"

namespace lextra {
namespace {

constexpr int64_t kMaxCommandLinesBytes = int64_t{1} << 24;

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
        return lock->nonce();
      }));
  absl::Status same;
  if (ReadLockNonce(run_folder).value_or("") != nonce) {
    same = UsageError(absl::StrCat(
        "--run_dir=", run_folder,
        ": this rank does not see the folder that rank 0 made; it must be on "
        "storage that all hosts share"));
  }
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(world, same));
  return lock;
}

absl::Status RecordOrigin(const std::string& run_folder,
                          const RunConfig& config, const RunOrigin& origin) {
  const std::string date =
      absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(), absl::UTCTimeZone());
  LEXTRA_RETURN_IF_ERROR(AtomicWrite(
      run_folder + "/config.textproto",
      absl::StrCat("# proto-file: config/run.proto\n",
                   "# proto-message: lextra.RunConfig\n# ", origin.versions,
                   "\n# ", date, "\n# ", absl::StrJoin(origin.command, " "),
                   "\n", RunConfigText(config))));

  const std::string command_path = run_folder + "/cmdline.txt";
  std::string commands;
  if (std::filesystem::exists(command_path)) {
    LEXTRA_ASSIGN_OR_RETURN(commands,
                            ReadFile(command_path, kMaxCommandLinesBytes));
    commands += "\n";
  }
  absl::StrAppend(&commands, "# ", date, "\n",
                  absl::StrJoin(origin.command, "\n"), "\n");
  LEXTRA_RETURN_IF_ERROR(AtomicWrite(command_path, commands));

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

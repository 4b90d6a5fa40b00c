#include <memory>

#include "base/log.h"
#include "config/load.h"
#include "config/resolve.h"
#include "data/token_dataset.h"
#include "launch/arguments/command_line.h"
#include "launch/arguments/output_paths.h"
#include "launch/commands.h"
#include "launch/instruction_set.h"
#include "launch/session_setup.h"
#include "launch/stop_signals.h"
#include "launch/version.h"
#include "model/parameter_shapes.h"
#include "model/precision.h"
#include "ops/attention_operators.h"
#include "parallel/agreement.h"
#include "trainer/run_folder.h"
#include "trainer/trainer.h"

namespace lextra {
namespace {

struct TrainOptions {
  std::string config;
  std::string run_dir;
  std::string resume = "auto";
  int64_t stop_at_step = 0;
  int64_t expect_world_size = 0;
  bool print_config = false;
  std::vector<std::string> overrides;
};

CommandLine MakeCommandLine(TrainOptions* options) {
  CommandLine line(
      "train --config=FILE --run_dir=FOLDER [section.field=value ...]",
      R"(Trains a language model on a token data set (lextra prepare).
Start it with `mpirun -np D*T` for D data-parallel x T tensor-parallel ranks;
without mpirun it runs as one rank. A run folder with checkpoints is resumed,
at any layout.)");
  line.AddFlag("config", &options->config,
               "file (text format of config/run.proto) or preset");
  line.AddFlag("run_dir", &options->run_dir,
               "folder for checkpoints, metrics and the log");
  line.AddFlag("resume", &options->resume,
               "auto: resume from the newest intact checkpoint, if any;\n"
               "must: fail if there is none; none: fail if there is one;\n"
               "a number: resume from that step, set newer ones aside");
  line.AddFlag("stop_at_step", &options->stop_at_step,
               "save and stop after this step; 0: schedule.num_steps");
  line.AddFlag("expect_world_size", &options->expect_world_size,
               "fail unless the world size is this; 0: any");
  line.AddFlag("print_config", &options->print_config,
               "print the effective configuration and exit");
  line.AddFlag("set", &options->overrides,
               "section.field=value; the flag itself may be omitted");
  return line;
}

// The vocabulary of the training data, unless the configuration sets it.
absl::Status TakeVocabularyFromData(RunConfig* config) {
  if (config->data().train().empty()) {
    return UsageError(
        "data.train is not set: expected the prefix of a token data set "
        "written by `lextra prepare` (data.train=PREFIX-train)");
  }
  LEXTRA_ASSIGN_OR_RETURN(const TokenDataset data,
                          TokenDataset::Open(config->data().train()));
  const int64_t needed = data.meta().vocab_size;
  if (config->model().vocab_size() == 0) {
    config->mutable_model()->set_vocab_size(static_cast<int32_t>(needed));
  }
  if (config->model().vocab_size() < needed) {
    return UsageError(absl::StrFormat(
        "model.vocab_size = %d: %s has token ids up to %d; set it to 0 to use "
        "the vocabulary of the data set",
        config->model().vocab_size(), config->data().train(), needed - 1));
  }
  return absl::OkStatus();
}

absl::StatusOr<RunConfig> EffectiveConfig(const TrainOptions& options,
                                          int world_size) {
  if (options.config.empty()) {
    return UsageError("--config is missing: expected a file or a preset");
  }
  LEXTRA_ASSIGN_OR_RETURN(RunConfig config,
                          LoadRunConfig(options.config, options.overrides));
  LEXTRA_RETURN_IF_ERROR(Resolve(&config, Purpose::kTrain, world_size));
  LEXTRA_RETURN_IF_ERROR(TakeVocabularyFromData(&config));
  // Again, for the rules on the vocabulary.
  LEXTRA_RETURN_IF_ERROR(Resolve(&config, Purpose::kTrain, world_size));
  return config;
}

// So that the data of a checkpoint are found from any folder. Relative paths
// are relative to the working directory of each rank.
void MakeDataPathsAbsolute(RunConfig* config) {
  DataConfig& data = *config->mutable_data();
  data.set_train(AbsolutePath(data.train()));
  data.set_validation(AbsolutePath(data.validation()));
}

// What runs, and on a GPU which of LibTorch's operators computes attention.
void LogRun(const RunConfig& config, int world_size) {
  const ModelConfig& model = config.model();
  LogLine(VersionLine());
  LogLine(RunConfigTable(config));
  LogInfo(
      "%d rank(s): data %d x tensor %d; %.2fM parameters, %.2f MFLOP per "
      "token (6 N + 6 L C T)",
      world_size, config.parallel().data(), config.parallel().tensor(),
      NumParameters(model) * 1e-6, TrainingFlopsPerToken(model) * 1e-6);
  if (config.parallel().device() != CUDA) return;
  LogInfo(
      "attention on the GPU: %s",
      NameOf(ChooseOperator(ComputeType(model.precision()), model.head_dim(),
                            /*equal_lengths=*/true, /*causal=*/true,
                            /*biased=*/false)));
}

// Records this start in the run folder. Collective.
absl::Status RecordStart(const std::string& run_folder, const RunConfig& config,
                         const std::vector<std::string>& arguments,
                         const MpiSession& mpi, Communicator& world) {
  const std::vector<std::string> hosts = GatherTexts(world, mpi.host());
  std::vector<std::string> command = {"lextra", "train"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  absl::Status recorded;
  if (world.rank() == 0) {
    recorded = RecordOrigin(
        run_folder, config,
        {.command = command, .versions = VersionLine(), .rank_hosts = hosts});
  }
  return AgreeOnStatus(world, recorded);
}

}  // namespace

absl::Status RunTrain(Session& session,
                      const std::vector<std::string>& arguments) {
  MpiSession& mpi = *session.mpi;
  TrainOptions options;
  CommandLine line = MakeCommandLine(&options);
  LEXTRA_ASSIGN_OR_RETURN(const bool helped, line.ParseOrHelp(arguments));
  if (helped) return absl::OkStatus();
  options.overrides.insert(options.overrides.end(), line.rest().begin(),
                           line.rest().end());
  LEXTRA_RETURN_IF_ERROR(CheckWorldSize(mpi, options.expect_world_size));
  LEXTRA_ASSIGN_OR_RETURN(const ResumeMode resume,
                          ParseResumeMode(options.resume));

  const std::unique_ptr<Communicator> world = mpi.World();
  absl::StatusOr<RunConfig> mine = RunConfig();
  if (world->rank() == 0) mine = EffectiveConfig(options, mpi.size());
  LEXTRA_ASSIGN_OR_RETURN(RunConfig config, ShareConfig(*world, mine));
  MakeDataPathsAbsolute(&config);
  if (options.print_config) {
    PrintResult(RunConfigText(config));
    return absl::OkStatus();
  }
  if (options.run_dir.empty()) {
    return UsageError("--run_dir is missing: expected a folder for this run");
  }

  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(
      *world, CheckOutsideCheckpoints("--run_dir", options.run_dir)));

  CatchStopSignals();
  LEXTRA_ASSIGN_OR_RETURN(
      const std::unique_ptr<RunLock> lock,
      TakeRunFolder(*world, options.run_dir, config.checkpoint().run_id()));
  SetLogFile(options.run_dir + "/log.txt");
  StartWatchdog(session, config.parallel().timeout_seconds());
  LEXTRA_RETURN_IF_ERROR(SetUpThreads(mpi, config.parallel()));
  LEXTRA_ASSIGN_OR_RETURN(const std::unique_ptr<DeviceMesh> mesh,
                          MakeMesh(mpi, config.parallel()));
  if (config.parallel().device() == CPU) {
    LEXTRA_RETURN_IF_ERROR(CheckTensorGroups(*mesh));
  }
  LogRun(config, mpi.size());
  LEXTRA_ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer,
                          Trainer::Create(config, options.run_dir, resume,
                                          {.run_id = lock ? lock->run_id() : "",
                                           .program = VersionLine()},
                                          *mesh));
  // Not earlier: a refused run must not overwrite how the folder's checkpoints
  // were made.
  LEXTRA_RETURN_IF_ERROR(
      RecordStart(options.run_dir, config, arguments, mpi, *world));
  const int64_t last_step = options.stop_at_step > 0
                                ? options.stop_at_step
                                : config.schedule().num_steps();
  const absl::Status ended = trainer->Run(last_step, StopIsWanted);
  if (!ended.ok() && ExitCodeOf(ended) != ExitCode::kPreempted) return ended;
  LEXTRA_RETURN_IF_ERROR(mesh->Finalize());
  LEXTRA_RETURN_IF_ERROR(world->Finalize());
  return ended;
}

}  // namespace lextra

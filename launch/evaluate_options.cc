#include "launch/evaluate_options.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "checkpoint/load_tensors.h"
#include "config/difference.h"
#include "config/load.h"
#include "config/resolve.h"

namespace lextra {
namespace {

absl::Status CheckChanges(const RunConfig& saved, const RunConfig& wanted,
                          std::string_view source) {
  const std::vector<std::string> differences = DifferingFields(
      saved, wanted,
      {"evaluation.", "parallel.", "data.validation", "model.precision"});
  if (differences.empty()) return absl::OkStatus();
  return UsageError(
      absl::StrCat(std::string(source), ": ", absl::StrJoin(differences, "; "),
                   ": an evaluation may only change evaluation.*, parallel.*, "
                   "data.validation and model.precision"));
}

// Applies what an evaluation may change from a file. If the file has a model,
// it must be the checkpoint's.
absl::Status ApplyFile(const std::string& path, int world_size,
                       RunConfig* config) {
  LEXTRA_ASSIGN_OR_RETURN(const RunConfig file, LoadRunConfig(path, {}));
  if (file.has_model()) {
    RunConfig resolved = *config;
    *resolved.mutable_model() = file.model();
    LEXTRA_RETURN_IF_ERROR(
        WithContext(Resolve(&resolved, Purpose::kEvaluate, world_size), path));
    if (resolved.model().vocab_size() == 0) {
      resolved.mutable_model()->set_vocab_size(config->model().vocab_size());
    }
    LEXTRA_RETURN_IF_ERROR(CheckChanges(*config, resolved, path));
  }
  if (file.has_evaluation()) *config->mutable_evaluation() = file.evaluation();
  if (file.has_parallel()) *config->mutable_parallel() = file.parallel();
  if (file.data().has_validation()) {
    config->mutable_data()->set_validation(file.data().validation());
  }
  return absl::OkStatus();
}

absl::Status CheckPurpose(const EvaluateOptions& options,
                          const RunConfig& config) {
  if (config.model().vocab_size() == 0) {
    return CheckpointError("no model.vocab_size in its configuration");
  }
  const bool streams = config.evaluation().protocols_size() == 1 &&
                       config.evaluation().protocols(0) == STREAMING;
  if (!options.nll_out.empty() && !streams) {
    return UsageError(
        "--nll_out contains every target of whole documents: omit "
        "evaluation.protocols, or set it to [STREAMING]");
  }
  if (!options.nll_out.empty() && config.evaluation().masks_size() != 1) {
    return UsageError(
        "--nll_out contains the NLL under one mask: add "
        "evaluation.masks=[BCA] or evaluation.masks=[CAUSAL]");
  }
  if (!options.nll_out.empty() &&
      config.evaluation().rope_scaling_size() != 1) {
    return UsageError(
        "--nll_out contains the NLL under one RoPE scaling: omit "
        "evaluation.rope_scaling, or give it one value");
  }
  if (options.tokens.empty() && config.data().validation().empty()) {
    return UsageError(
        "data.validation is not set, neither by the checkpoint nor here: "
        "expected the prefix of a token data set written by `lextra prepare`, "
        "or --tokens=FILE");
  }
  return absl::OkStatus();
}

}  // namespace

CommandLine EvaluateCommandLine(EvaluateOptions* options) {
  CommandLine line(
      "evaluate --checkpoint=FOLDER [section.field=value ...]",
      R"(Scores documents of any length with the model of a checkpoint. Prints
one row per mask, RoPE scaling, protocol and length (evaluation.masks,
.rope_scaling, .protocols, .lengths). Start it with `mpirun -np D*S*T`:
parallel.context=S ranks share a document, parallel.tensor=T ranks share the
model, and D groups share the documents. The model comes from the checkpoint,
and so do evaluation.* and data.validation (the documents) unless they are given
here. Run the same command again to resume a stopped evaluation.)");
  line.AddFlag("checkpoint", &options->checkpoint,
               "step folder, or run folder for its newest step");
  line.AddFlag("results_dir", &options->results_dir,
               "folder for results.json and report.{html,md,csv};\n"
               "default: RUN/eval/step-N, none with --tokens");
  line.AddFlag("tokens", &options->tokens,
               "safetensors file, `tokens` I64 [T] or [B, T]: each row is\n"
               "a document; replaces data.validation");
  line.AddFlag("nll_out", &options->nll_out,
               "with --tokens and one mask: safetensors file to write,\n"
               "`nll` F64 [B, T-1] in nats, NaN beyond\n"
               "evaluation.max_tokens");
  line.AddFlag("config", &options->config,
               "file (text format of config/run.proto) or preset: its\n"
               "evaluation, parallel and data.validation are used");
  line.AddFlag("expect_world_size", &options->expect_world_size,
               "fail unless the world size is this; 0: any");
  line.AddFlag("set", &options->overrides,
               "section.field=value; the flag itself may be omitted");
  return line;
}

absl::Status CheckEvaluateOptions(const EvaluateOptions& options) {
  if (options.checkpoint.empty()) {
    return UsageError(
        "--checkpoint is missing: expected a run folder or step folder");
  }
  if (!options.nll_out.empty() && options.tokens.empty()) {
    return UsageError("--nll_out needs --tokens");
  }
  return absl::OkStatus();
}

absl::StatusOr<RunConfig> EffectiveEvaluateConfig(
    const EvaluateOptions& options, const std::string& step_folder,
    int world_size) {
  LEXTRA_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(step_folder));
  LEXTRA_ASSIGN_OR_RETURN(
      RunConfig saved,
      ParseStoredRunConfig(manifest.state().config(), step_folder));
  saved.clear_parallel();
  RunConfig config = saved;
  if (!options.tokens.empty()) {
    // Stored settings are for the data set; a file is scored completely, and
    // nothing else, unless more is requested here.
    config.mutable_evaluation()->clear_protocols();
    config.mutable_evaluation()->clear_resolution_lengths();
    config.mutable_evaluation()->set_synthetic_trials(0);
    config.mutable_evaluation()->set_max_tokens(0);
  }
  if (!options.config.empty()) {
    LEXTRA_RETURN_IF_ERROR(ApplyFile(options.config, world_size, &config));
  }
  LEXTRA_RETURN_IF_ERROR(ApplyOverrides(options.overrides, &config));
  LEXTRA_RETURN_IF_ERROR(CheckChanges(saved, config, "command line"));
  if (!options.tokens.empty() && config.evaluation().protocols().empty()) {
    config.mutable_evaluation()->add_protocols(STREAMING);
  }
  LEXTRA_RETURN_IF_ERROR(Resolve(&config, Purpose::kEvaluate, world_size));
  LEXTRA_RETURN_IF_ERROR(CheckPurpose(options, config));
  return config;
}

}  // namespace lextra

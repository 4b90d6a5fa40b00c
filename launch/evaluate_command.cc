// lextra evaluate: how well a checkpoint's model predicts long documents.
#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/files.h"
#include "base/log.h"
#include "checkpoint/sharded_checkpoint.h"
#include "checkpoint/tensor_file.h"
#include "config/difference.h"
#include "config/load.h"
#include "config/resolve.h"
#include "data/byte_tokenizer.h"
#include "data/token_dataset.h"
#include "evaluator/documents.h"
#include "evaluator/evaluation.h"
#include "evaluator/results.h"
#include "launch/command_line.h"
#include "launch/commands.h"
#include "launch/session_setup.h"
#include "launch/version.h"
#include "model/transformer.h"
#include "parallel/agreement.h"

namespace lextra {
namespace {

struct EvaluateOptions {
  std::string checkpoint;
  std::string results_dir;
  std::string tokens;
  std::string nll_out;
  std::string config;
  int64_t expect_world_size = 0;
  std::vector<std::string> overrides;
};

CommandLine MakeCommandLine(EvaluateOptions* options) {
  CommandLine line(
      "evaluate --checkpoint=FOLDER [section.field=value ...]",
      "Scores documents of any length with a checkpoint's model and prints one "
      "row for each\nmask, protocol and length (evaluation.masks, .protocols, "
      ".lengths). Start it with\n`mpirun -np D*S*T`: parallel.sequence=S ranks "
      "share a document, parallel.tensor=T the\nmodel, and D groups share the "
      "documents. The model comes from the checkpoint, and so\ndo evaluation.* "
      "and data.validation, the documents, unless they are given here.");
  line.AddFlag("checkpoint", &options->checkpoint,
               "a step folder, or a run folder for its newest step");
  line.AddFlag("results_dir", &options->results_dir,
               "where results.json, .csv and .md go; RUN/eval by default, "
               "nowhere with --tokens");
  line.AddFlag("tokens", &options->tokens,
               "safetensors file, `tokens` I64 [T] or [B, T]: each row is a "
               "document, in place of data.validation");
  line.AddFlag("nll_out", &options->nll_out,
               "with --tokens and one mask: safetensors file to write, `nll` "
               "F64 [B, T-1] in nats");
  line.AddFlag("config", &options->config,
               "text format of config/run.proto, or a preset's name: its "
               "evaluation, parallel and data.validation are used");
  line.AddFlag("expect_world_size", &options->expect_world_size,
               "refuse to run with another number of ranks; 0: any");
  line.AddFlag("set", &options->overrides,
               "section.field=value, the same as without the flag");
  return line;
}

absl::Status CheckOptions(const EvaluateOptions& options) {
  if (options.checkpoint.empty()) {
    return UsageError(
        "--checkpoint is missing: a run folder or one of its steps");
  }
  if (!options.nll_out.empty() && options.tokens.empty()) {
    return UsageError("--nll_out needs --tokens");
  }
  return absl::OkStatus();
}

// What an evaluation may change of the configuration that was trained with.
constexpr std::array<std::string_view, 4> kMayChange = {
    "evaluation.", "parallel.", "data.validation", "model.precision"};

absl::Status CheckChanges(const RunConfig& saved, const RunConfig& wanted,
                          std::string_view source) {
  std::vector<std::string> differences = DifferingFields(saved, wanted);
  std::erase_if(differences, [](const std::string& difference) {
    return std::ranges::any_of(kMayChange, [&](std::string_view prefix) {
      return difference.starts_with(prefix);
    });
  });
  if (differences.empty()) return absl::OkStatus();
  return UsageError(
      absl::StrCat(std::string(source), ": ", absl::StrJoin(differences, "; "),
                   ": an evaluation may change only evaluation.*, parallel.*, "
                   "data.validation and model.precision"));
}

// Takes from a file what an evaluation may change. If it has a model, that
// must be the checkpoint's.
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
    return CheckpointError("its configuration has no model.vocab_size");
  }
  if (!options.nll_out.empty() && config.evaluation().masks_size() != 1) {
    return UsageError(
        "--nll_out is the NLL under one mask: add evaluation.masks=[BCA] or "
        "evaluation.masks=[CAUSAL]");
  }
  if (options.tokens.empty() && config.data().validation().empty()) {
    return UsageError(
        "data.validation is not set, by the checkpoint or here: give the "
        "prefix of a token data set, as `lextra prepare` writes it, or "
        "--tokens=FILE");
  }
  return absl::OkStatus();
}

// The configuration stored with the checkpoint, but for the layout of the ranks
// that saved it, with what is given here.
absl::StatusOr<RunConfig> EffectiveConfig(const EvaluateOptions& options,
                                          const std::string& step_folder,
                                          int world_size) {
  LEXTRA_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(step_folder));
  LEXTRA_ASSIGN_OR_RETURN(
      RunConfig saved, ParseRunConfig(manifest.state().config(), step_folder));
  saved.clear_parallel();
  RunConfig config = saved;
  if (!options.config.empty()) {
    LEXTRA_RETURN_IF_ERROR(ApplyFile(options.config, world_size, &config));
  }
  LEXTRA_RETURN_IF_ERROR(ApplyOverrides(options.overrides, &config));
  LEXTRA_RETURN_IF_ERROR(CheckChanges(saved, config, "command line"));
  if (!options.tokens.empty()) {
    config.mutable_evaluation()->clear_protocols();
    config.mutable_evaluation()->add_protocols(STREAMING);
    config.mutable_evaluation()->set_max_tokens(0);
  }
  LEXTRA_RETURN_IF_ERROR(Resolve(&config, Purpose::kEvaluate, world_size));
  LEXTRA_RETURN_IF_ERROR(CheckPurpose(options, config));
  return config;
}

// The folder for results, or empty for none.
std::string ResultsFolder(const EvaluateOptions& options,
                          const std::string& step_folder) {
  if (!options.results_dir.empty()) return options.results_dir;
  if (!options.tokens.empty()) return "";
  return (std::filesystem::path(step_folder).parent_path() / "eval").string();
}

// Before hours of scoring: is there a place for what they yield?
absl::Status PrepareOutputs(const EvaluateOptions& options,
                            const std::string& results_folder) {
  if (!results_folder.empty()) {
    LEXTRA_RETURN_IF_ERROR(MakeFolders(results_folder));
  }
  if (options.nll_out.empty()) return absl::OkStatus();
  const std::filesystem::path folder =
      std::filesystem::absolute(options.nll_out).parent_path();
  std::error_code ignored;
  if (std::filesystem::is_directory(folder, ignored)) return absl::OkStatus();
  return StorageError(absl::StrCat("--nll_out=", options.nll_out, ": ",
                                   folder.string(), " is no folder"));
}

// What is scored, from a data set or a file of tokens.
struct Input {
  std::string path;
  std::optional<TokenDataset> dataset;
  at::Tensor tokens_BT;  // of --tokens
  std::unique_ptr<Documents> documents;
};

absl::Status CheckTokenizer(const Tokenizer& trained, const DatasetMeta& meta,
                            const std::string& path, int64_t vocab_size) {
  if (!trained.name().empty() && (trained.name() != meta.tokenizer ||
                                  trained.sha256() != meta.tokenizer_sha256)) {
    return InputError(absl::StrFormat(
        "%s: made with tokenizer %s (sha256 '%s'), but the checkpoint was "
        "trained with %s (sha256 '%s')",
        path, meta.tokenizer, meta.tokenizer_sha256, trained.name(),
        trained.sha256()));
  }
  if (meta.vocab_size <= vocab_size) return absl::OkStatus();
  return InputError(absl::StrFormat(
      "%s: token ids up to %d, but the model's vocabulary has %d", path,
      meta.vocab_size - 1, vocab_size));
}

absl::Status OpenDataset(const Tokenizer& tokenizer, int64_t vocab_size,
                         Input* input) {
  LEXTRA_ASSIGN_OR_RETURN(input->dataset, TokenDataset::Open(input->path));
  LEXTRA_RETURN_IF_ERROR(CheckTokenizer(tokenizer, input->dataset->meta(),
                                        input->path, vocab_size));
  input->documents = std::make_unique<DatasetDocuments>(*input->dataset);
  return absl::OkStatus();
}

absl::Status OpenTokens(const Tokenizer& tokenizer, int64_t vocab_size,
                        Input* input) {
  LEXTRA_ASSIGN_OR_RETURN(NamedTensors tensors, ReadTensorFile(input->path));
  const auto found = tensors.find("tokens");
  if (found == tensors.end()) {
    return InputError(input->path + ": no tensor 'tokens'");
  }
  at::Tensor tokens = std::move(found->second);
  const bool is_long = tokens.scalar_type() == at::kLong;
  if (!is_long || tokens.dim() < 1 || tokens.dim() > 2) {
    return InputError(absl::StrFormat(
        "%s: tokens are %s with %d dimension(s), expected I64 [T] or [B, T]",
        input->path, DtypeName(tokens.scalar_type()), tokens.dim()));
  }
  if (tokens.dim() == 1) tokens = tokens.unsqueeze(0);
  TextMeasure measure;
  if (tokenizer.name() == ByteTokenizer::kName) {
    measure = {.eos_id = ByteTokenizer::kEosId, .bytes_per_token = 1};
  }
  input->tokens_BT = tokens;
  input->documents =
      std::make_unique<TensorDocuments>(tokens, vocab_size, measure);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Input>> OpenInput(const EvaluateOptions& options,
                                                 const RunConfig& config,
                                                 const Tokenizer& tokenizer) {
  auto input = std::make_unique<Input>();
  const int64_t vocab_size = config.model().vocab_size();
  if (options.tokens.empty()) {
    input->path = config.data().validation();
    LEXTRA_RETURN_IF_ERROR(OpenDataset(tokenizer, vocab_size, input.get()));
  } else {
    input->path = options.tokens;
    LEXTRA_RETURN_IF_ERROR(OpenTokens(tokenizer, vocab_size, input.get()));
  }
  return input;
}

// The model's weights are the checkpoint's, in the model's precision.
absl::Status LoadWeights(const std::string& step_folder,
                         const Manifest& manifest, Precision saved_precision,
                         Communicator& tensor_axis, Transformer* model) {
  const at::ScalarType saved =
      saved_precision == FP64 ? at::kDouble : at::kFloat;
  std::vector<ShardedTensor> shards;
  std::vector<std::pair<at::Tensor, at::Tensor>> conversions;
  for (Parameter* parameter : model->parameters()) {
    const at::Tensor leaf = parameter->leaf.detach();
    at::Tensor read = leaf;
    if (leaf.scalar_type() != saved) {
      read = at::empty_like(leaf, saved);
      conversions.emplace_back(leaf, read);
    }
    for (ShardedTensor& shard : parameter->Shards(
             read, "", 0, 1, tensor_axis.rank(), tensor_axis.size())) {
      shards.push_back(std::move(shard));
    }
  }
  LEXTRA_RETURN_IF_ERROR(LoadTensors(step_folder, manifest, shards));
  for (const auto& [leaf, read] : conversions) leaf.copy_(read);
  return absl::OkStatus();
}

// Everything that can be wrong before the first token is scored, found.
struct Job {
  RunConfig config;
  std::string step_folder;
  Manifest manifest;
  Precision saved_precision = FP32;
  std::unique_ptr<Input> input;
  std::string results_folder;  // empty: no results
  std::string nll_out;         // empty: no NLL of each token
};

absl::StatusOr<Job> PrepareJob(const EvaluateOptions& options, int world_size,
                               Communicator& world) {
  Job job;
  job.nll_out = options.nll_out;
  LEXTRA_ASSIGN_OR_RETURN(job.step_folder, LoadOnRankZero(world, [&] {
                            return FindCheckpoint(options.checkpoint);
                          }));
  absl::StatusOr<RunConfig> mine = RunConfig();
  if (world.rank() == 0) {
    mine = EffectiveConfig(options, job.step_folder, world_size);
  }
  LEXTRA_ASSIGN_OR_RETURN(job.config, ShareConfig(world, mine));

  absl::StatusOr<Manifest> manifest = ReadManifest(job.step_folder);
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(world, manifest.status()));
  job.manifest = *std::move(manifest);
  LEXTRA_ASSIGN_OR_RETURN(
      const RunConfig saved,
      ParseRunConfig(job.manifest.state().config(), job.step_folder));
  job.saved_precision = saved.model().precision();
  absl::StatusOr<std::unique_ptr<Input>> input =
      OpenInput(options, job.config, job.manifest.state().tokenizer());
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(world, input.status()));
  job.input = *std::move(input);

  job.results_folder = ResultsFolder(options, job.step_folder);
  absl::Status outputs;
  if (world.rank() == 0) outputs = PrepareOutputs(options, job.results_folder);
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(world, outputs));
  return job;
}

ResultsContext ContextOf(const Job& job,
                         const std::vector<std::string>& arguments) {
  const TrainingState& state = job.manifest.state();
  const Documents& documents = *job.input->documents;
  ResultsContext context = {
      .config = job.config,
      .checkpoint_path = job.step_folder,
      .checkpoint_step = state.step(),
      .checkpoint_id = job.manifest.save_id(),
      .tokenizer_name = state.tokenizer().name(),
      .tokenizer_sha256 = state.tokenizer().sha256(),
      .data_path = job.input->path,
      .data_documents = documents.num_documents(),
      .versions = VersionLine(),
      .command =
          absl::StrCat("lextra evaluate ", absl::StrJoin(arguments, " ")),
      .date = absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(),
                               absl::UTCTimeZone())};
  for (int64_t d = 0; d < documents.num_documents(); ++d) {
    context.data_tokens += documents.size(d);
  }
  return context;
}

struct Scores {
  std::vector<ResultRow> rows;
  // Of every target of --tokens, where it is wanted: on rank 0.
  at::Tensor nll_BT;
};

absl::StatusOr<Scores> Score(const Job& job, Transformer& model,
                             DeviceMesh& mesh) {
  Scores scores;
  DocumentNll take;
  // One rank of each data coordinate keeps what that coordinate scores.
  const bool keeps_nll = !job.nll_out.empty() && mesh.sequence().rank() == 0 &&
                         mesh.tensor().rank() == 0;
  if (keeps_nll) {
    const at::Tensor& tokens_BT = job.input->tokens_BT;
    scores.nll_BT = at::zeros(
        {tokens_BT.size(0), std::max<int64_t>(0, tokens_BT.size(1) - 1)},
        at::kDouble);
    take = [&](int64_t document, int64_t first, const at::Tensor& nll_T) {
      scores.nll_BT.select(0, document)
          .narrow(0, first, nll_T.size(0))
          .copy_(nll_T);
    };
  }
  LEXTRA_ASSIGN_OR_RETURN(scores.rows,
                          Evaluate(model, mesh, *job.input->documents,
                                   job.config.evaluation(), take));
  if (keeps_nll) mesh.data().AllReduce(scores.nll_BT, ReduceOp::kSum);
  return scores;
}

absl::Status WriteScores(const Job& job, const Scores& scores,
                         const std::vector<std::string>& arguments) {
  if (!job.nll_out.empty()) {
    LEXTRA_RETURN_IF_ERROR(
        WriteTensorFile(job.nll_out, {{"nll", scores.nll_BT}}));
  }
  if (job.results_folder.empty()) return absl::OkStatus();
  return WriteResults(job.results_folder, scores.rows,
                      ContextOf(job, arguments));
}

}  // namespace

absl::Status RunEvaluate(MpiSession& mpi,
                         const std::vector<std::string>& arguments) {
  EvaluateOptions options;
  CommandLine line = MakeCommandLine(&options);
  LEXTRA_RETURN_IF_ERROR(line.Parse(arguments));
  if (line.help_wanted()) {
    PrintResult(line.Help());
    return absl::OkStatus();
  }
  options.overrides.insert(options.overrides.end(), line.rest().begin(),
                           line.rest().end());
  LEXTRA_RETURN_IF_ERROR(CheckOptions(options));
  LEXTRA_RETURN_IF_ERROR(CheckWorldSize(mpi, options.expect_world_size));

  const std::unique_ptr<Communicator> world = mpi.World();
  LEXTRA_ASSIGN_OR_RETURN(const Job job,
                          PrepareJob(options, mpi.size(), *world));
  const ParallelConfig& parallel = job.config.parallel();
  LEXTRA_RETURN_IF_ERROR(SetUpThreads(mpi, parallel));
  LEXTRA_ASSIGN_OR_RETURN(const std::unique_ptr<DeviceMesh> mesh,
                          MakeMesh(mpi, parallel));
  Transformer model(job.config.model(), mesh->tensor());
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(
      *world, LoadWeights(job.step_folder, job.manifest, job.saved_precision,
                          mesh->tensor(), &model)));
  LogInfo(
      "%s; %d rank(s): data %d x sequence %d x tensor %d; %d document(s) of %s",
      job.step_folder, mpi.size(), parallel.data(), parallel.sequence(),
      parallel.tensor(), job.input->documents->num_documents(),
      job.input->path);

  LEXTRA_ASSIGN_OR_RETURN(const Scores scores, Score(job, model, *mesh));
  PrintResult(ResultsTable(scores.rows));
  absl::Status written;
  if (world->rank() == 0) written = WriteScores(job, scores, arguments);
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(*world, written));
  LEXTRA_RETURN_IF_ERROR(mesh->Finalize());
  return world->Finalize();
}

}  // namespace lextra

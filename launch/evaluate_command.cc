// lextra evaluate: how well a checkpoint's model predicts long documents.
#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/files.h"
#include "base/log.h"
#include "checkpoint/sharded_checkpoint.h"
#include "checkpoint/step_folders.h"
#include "checkpoint/tensor_file.h"
#include "config/load.h"
#include "evaluator/attention_resolution.h"
#include "evaluator/document_journal.h"
#include "evaluator/evaluation.h"
#include "evaluator/report.h"
#include "evaluator/results.h"
#include "evaluator/synthetic_tasks.h"
#include "launch/commands.h"
#include "launch/evaluate_options.h"
#include "launch/evaluation_input.h"
#include "launch/session_setup.h"
#include "launch/version.h"
#include "model/precision.h"
#include "model/transformer.h"
#include "parallel/agreement.h"
#include "parallel/device_copy.h"

namespace lextra {
namespace {

// The folder for results, or empty for none.
std::string ResultsFolder(const EvaluateOptions& options,
                          const std::string& step_folder) {
  if (!options.results_dir.empty()) return options.results_dir;
  if (!options.tokens.empty()) return "";
  return (std::filesystem::path(step_folder).parent_path() / "eval").string();
}

// The model's weights are the checkpoint's, in the model's precision.
absl::Status LoadWeights(const std::string& step_folder,
                         const Manifest& manifest, Precision saved_precision,
                         Communicator& tensor_axis, Transformer* model) {
  const at::ScalarType saved = MasterType(saved_precision);
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
  CastLeaves(model->parameters(), ComputeType(model->config().precision()));
  return absl::OkStatus();
}

// Everything that can be wrong before the first token is scored, found.
struct Job {
  RunConfig config;
  std::string step_folder;
  Manifest manifest;
  Precision saved_precision = FP32;
  std::unique_ptr<EvaluationInput> input;
  std::string results_folder;  // empty: no results
  std::string nll_out;         // empty: no NLL of each token
};

// Before hours of scoring: is there a place for what they yield?
absl::Status PrepareOutputs(const Job& job) {
  if (!job.results_folder.empty()) {
    LEXTRA_RETURN_IF_ERROR(MakeFolders(job.results_folder));
  }
  if (job.nll_out.empty()) return absl::OkStatus();
  const std::filesystem::path folder =
      std::filesystem::absolute(job.nll_out).parent_path();
  std::error_code ignored;
  if (std::filesystem::is_directory(folder, ignored)) return absl::OkStatus();
  return StorageError(absl::StrCat("--nll_out=", job.nll_out, ": ",
                                   folder.string(), " is no folder"));
}

absl::StatusOr<Job> PrepareJob(const EvaluateOptions& options, int world_size,
                               Communicator& world) {
  Job job;
  job.nll_out = options.nll_out;
  LEXTRA_ASSIGN_OR_RETURN(job.step_folder, LoadOnRankZero(world, [&] {
                            return FindCheckpoint(options.checkpoint);
                          }));
  absl::StatusOr<RunConfig> mine = RunConfig();
  if (world.rank() == 0) {
    mine = EffectiveEvaluateConfig(options, job.step_folder, world_size);
  }
  LEXTRA_ASSIGN_OR_RETURN(job.config, ShareConfig(world, mine));

  absl::StatusOr<Manifest> manifest = ReadManifest(job.step_folder);
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(world, manifest.status()));
  job.manifest = *std::move(manifest);
  LEXTRA_ASSIGN_OR_RETURN(
      const RunConfig saved,
      ParseRunConfig(job.manifest.state().config(), job.step_folder));
  job.saved_precision = saved.model().precision();
  const Tokenizer& tokenizer = job.manifest.state().tokenizer();
  const int64_t vocab_size = job.config.model().vocab_size();
  absl::StatusOr<std::unique_ptr<EvaluationInput>> input =
      options.tokens.empty()
          ? OpenDatasetInput(job.config.data().validation(), tokenizer,
                             vocab_size)
          : OpenTokensInput(options.tokens, tokenizer, vocab_size);
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(world, input.status()));
  job.input = *std::move(input);

  job.results_folder = ResultsFolder(options, job.step_folder);
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
  Results results;
  // Of every target of --tokens, where it is wanted: on rank 0.
  at::Tensor nll_BT;
};

// What a journal's numbers are about. A file of token ids has none: it may
// change between two evaluations.
absl::StatusOr<std::optional<DocumentJournal>> OpenJournal(const Job& job,
                                                           DeviceMesh& mesh) {
  if (job.results_folder.empty() || !job.input->dataset) return std::nullopt;
  const std::string subject =
      absl::StrFormat("checkpoint %s step %d, %s; data %08x",
                      job.manifest.save_id(), job.manifest.state().step(),
                      Precision_Name(job.config.model().precision()),
                      job.input->dataset->Fingerprint());
  LEXTRA_ASSIGN_OR_RETURN(
      DocumentJournal journal,
      DocumentJournal::Open(job.results_folder, subject, mesh));
  if (journal.size() > 0) {
    LogInfo(
        "%s/documents.jsonl has %d scored documents of this checkpoint and "
        "data: they are not scored again (remove it to do so)",
        job.results_folder, journal.size());
  }
  return journal;
}

absl::StatusOr<Scores> Score(const Job& job, Transformer& model,
                             DeviceMesh& mesh) {
  Scores scores;
  TakeDocumentNll take;
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
  LEXTRA_ASSIGN_OR_RETURN(std::optional<DocumentJournal> journal,
                          OpenJournal(job, mesh));
  LEXTRA_ASSIGN_OR_RETURN(
      scores.results.rows,
      Evaluate(model, mesh, *job.input->documents, job.config.evaluation(),
               {.journal = journal ? &*journal : nullptr, .take = take}));
  if (journal) LEXTRA_RETURN_IF_ERROR(journal->Finish());
  LEXTRA_ASSIGN_OR_RETURN(scores.results.resolution,
                          MeasureResolution(model, mesh, *job.input->documents,
                                            job.config.evaluation()));
  LEXTRA_ASSIGN_OR_RETURN(
      scores.results.synthetic,
      RunSyntheticTasks(model, mesh, *job.input->documents,
                        job.manifest.state().tokenizer().name(),
                        job.config.evaluation()));
  if (keeps_nll) {
    AllReduceOnHost(scores.nll_BT, ReduceOp::kSum, mesh.data());
  }
  return scores;
}

absl::Status WriteScores(const Job& job, const Scores& scores,
                         const std::vector<std::string>& arguments) {
  if (!job.nll_out.empty()) {
    LEXTRA_RETURN_IF_ERROR(
        WriteTensorFile(job.nll_out, {{"nll", scores.nll_BT}}));
  }
  if (job.results_folder.empty()) return absl::OkStatus();
  LEXTRA_RETURN_IF_ERROR(WriteResults(job.results_folder, scores.results,
                                      ContextOf(job, arguments)));
  LEXTRA_ASSIGN_OR_RETURN(const ReportData report,
                          ReadReportData({job.results_folder}));
  return WriteReport(job.results_folder, report,
                     "Evaluation of " + job.step_folder);
}

}  // namespace

absl::Status RunEvaluate(MpiSession& mpi,
                         const std::vector<std::string>& arguments) {
  EvaluateOptions options;
  CommandLine line = EvaluateCommandLine(&options);
  LEXTRA_RETURN_IF_ERROR(line.Parse(arguments));
  if (line.help_wanted()) {
    PrintResult(line.Help());
    return absl::OkStatus();
  }
  options.overrides.insert(options.overrides.end(), line.rest().begin(),
                           line.rest().end());
  LEXTRA_RETURN_IF_ERROR(CheckEvaluateOptions(options));
  LEXTRA_RETURN_IF_ERROR(CheckWorldSize(mpi, options.expect_world_size));

  const std::unique_ptr<Communicator> world = mpi.World();
  LEXTRA_ASSIGN_OR_RETURN(const Job job,
                          PrepareJob(options, mpi.size(), *world));
  const ParallelConfig& parallel = job.config.parallel();
  mpi.StartWatchdog(parallel.timeout_seconds());
  LEXTRA_RETURN_IF_ERROR(SetUpThreads(mpi, parallel));
  LEXTRA_ASSIGN_OR_RETURN(const std::unique_ptr<DeviceMesh> mesh,
                          MakeMesh(mpi, parallel));
  Transformer model(job.config.model(), mesh->tensor());
  mpi.activity().SetPhase(Phase::kLoad);
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(
      *world, LoadWeights(job.step_folder, job.manifest, job.saved_precision,
                          mesh->tensor(), &model)));
  absl::Status outputs;
  if (world->rank() == 0) outputs = PrepareOutputs(job);
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(*world, outputs));
  LogInfo(
      "%s; %d rank(s): data %d x sequence %d x tensor %d; %d document(s) of %s",
      job.step_folder, mpi.size(), parallel.data(), parallel.sequence(),
      parallel.tensor(), job.input->documents->num_documents(),
      job.input->path);

  mpi.activity().SetPhase(Phase::kEvaluation);
  LEXTRA_ASSIGN_OR_RETURN(const Scores scores, Score(job, model, *mesh));
  PrintResult(ResultsTable(scores.results));
  mpi.activity().SetPhase(Phase::kSave);
  absl::Status written;
  if (world->rank() == 0) written = WriteScores(job, scores, arguments);
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(*world, written));
  LEXTRA_RETURN_IF_ERROR(mesh->Finalize());
  return world->Finalize();
}

}  // namespace lextra

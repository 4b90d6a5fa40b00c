// lextra evaluate: how well a checkpoint's model predicts long documents.
#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/hash/digest.h"
#include "base/io/files.h"
#include "base/log.h"
#include "checkpoint/files/step_folders.h"
#include "checkpoint/load_tensors.h"
#include "checkpoint/resume.h"
#include "checkpoint/tensor_file.h"
#include "config/load.h"
#include "data/tokenizer.h"
#include "evaluator/evaluation.h"
#include "evaluator/report/report.h"
#include "evaluator/resolution/attention_resolution.h"
#include "evaluator/results.h"
#include "evaluator/scoring/document_journal.h"
#include "evaluator/synthetic/synthetic_tasks.h"
#include "launch/arguments/output_paths.h"
#include "launch/commands.h"
#include "launch/evaluate_options.h"
#include "launch/evaluation_input.h"
#include "launch/evaluation_outputs.h"
#include "launch/session_setup.h"
#include "launch/version.h"
#include "model/precision.h"
#include "model/transformer.h"
#include "parallel/agreement.h"
#include "parallel/device_copy.h"

namespace lextra {
namespace {

// Loads the checkpoint's weights in the model's precision.
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
    for (ShardedTensor& shard :
         parameter->Shards(read, {.tensor_rank = tensor_axis.rank(),
                                 .num_tensor = tensor_axis.size()})) {
      shards.push_back(std::move(shard));
    }
  }
  LEXTRA_RETURN_IF_ERROR(LoadTensors(step_folder, manifest, shards));
  for (const auto& [leaf, read] : conversions) leaf.copy_(read);
  CastLeaves(model->parameters(), ComputeType(model->config().precision()));
  return absl::OkStatus();
}

// An evaluation, with everything checked that can be wrong before scoring.
struct Job {
  RunConfig config;
  std::string step_folder;
  Manifest manifest;
  Precision saved_precision = FP32;
  std::unique_ptr<Tokenizer> tokenizer;  // null: not one of ours
  std::unique_ptr<EvaluationInput> input;
  std::string subject;         // checkpoint, precision and data, in words
  std::string results_folder;  // empty: no results
  std::string nll_out;         // empty: no NLL of each token
};

std::string SubjectOf(const Job& job) {
  return absl::StrFormat("checkpoint %s step %d, %s; data %s",
                         job.manifest.save_id(), job.manifest.state().step(),
                         Precision_Name(job.config.model().precision()),
                         job.input->digest);
}

// What is wrong with the job by its documents and configuration alone.
absl::Status CheckJob(const Job& job) {
  const Documents& documents = *job.input->documents;
  const EvaluationConfig& evaluation = job.config.evaluation();
  LEXTRA_RETURN_IF_ERROR(
      CheckEvaluation(documents, job.config.model(), evaluation));
  LEXTRA_RETURN_IF_ERROR(CheckResolutionLengths(documents, evaluation));
  return CheckSyntheticTasks(documents, job.tokenizer.get(), job.config.model(),
                             evaluation);
}

// Says where the path of a missing data set comes from, if not from this
// command line.
absl::Status WithOrigin(const absl::Status& status, const RunConfig& saved,
                        const std::string& prefix) {
  if (status.ok() || ExitCodeOf(status) != ExitCode::kInput ||
      prefix != saved.data().validation()) {
    return status;
  }
  const bool is_relative = std::filesystem::path(prefix).is_relative();
  return InputError(absl::StrCat(
      status.message(), "; data.validation=", prefix,
      " comes from the checkpoint",
      is_relative ? ", relative to the folder that training was started in"
                  : "",
      "; give data.validation=PREFIX to override it"));
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

  LEXTRA_RETURN_IF_ERROR(CheckSameCheckpoint(world, job.step_folder));
  absl::StatusOr<Manifest> manifest = ReadManifest(job.step_folder);
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(world, manifest.status()));
  job.manifest = *std::move(manifest);
  LEXTRA_ASSIGN_OR_RETURN(
      const RunConfig saved,
      ParseStoredRunConfig(job.manifest.state().config(), job.step_folder));
  job.saved_precision = saved.model().precision();
  const TokenizerId& tokenizer = job.manifest.state().tokenizer();
  job.tokenizer = FindTokenizer(tokenizer.name(), tokenizer.sha256());
  const int64_t vocab_size = job.config.model().vocab_size();
  absl::StatusOr<std::unique_ptr<EvaluationInput>> input =
      options.tokens.empty()
          ? OpenDatasetInput(job.config.data().validation(), tokenizer,
                             vocab_size)
          : OpenTokensInput(options.tokens, tokenizer, vocab_size);
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(
      world, options.tokens.empty() ? WithOrigin(input.status(), saved,
                                                 job.config.data().validation())
                                    : input.status()));
  job.input = *std::move(input);
  LEXTRA_RETURN_IF_ERROR(AgreeOnInput(world, job.input.get()));

  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(world, CheckJob(job)));
  job.subject = SubjectOf(job);
  job.results_folder =
      ResultsFolder(options, job.step_folder, job.manifest.state().step());
  return job;
}

// The lock of the results folder is rank 0's. Collective.
absl::StatusOr<std::unique_ptr<RunLock>> TakeOutputsOfJob(const Job& job,
                                                          Communicator& world) {
  absl::StatusOr<std::unique_ptr<RunLock>> lock = nullptr;
  if (world.rank() == 0) {
    lock = TakeOutputs(job.results_folder, job.nll_out, job.subject,
                       job.config.evaluation());
  }
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(world, lock.status()));
  return lock;
}

ResultsContext ContextOf(const Job& job,
                         const std::vector<std::string>& arguments) {
  const TrainingState& state = job.manifest.state();
  const Documents& documents = *job.input->documents;
  ResultsContext context = {
      .subject = job.subject,
      .config = job.config,
      .checkpoint_path = AbsolutePath(job.step_folder),
      .checkpoint_step = state.step(),
      .checkpoint_id = job.manifest.save_id(),
      .tokenizer_name = state.tokenizer().name(),
      .tokenizer_sha256 = state.tokenizer().sha256(),
      .data_path = AbsolutePath(job.input->path),
      .data_documents = documents.num_documents(),
      .data_digest = job.input->digest,
      .config_digest = DigestOf(RunConfigText(job.config)),
      .versions = VersionLine(),
      .command =
          absl::StrCat("lextra evaluate ", absl::StrJoin(arguments, " ")),
      .date = UtcTime()};
  for (int64_t d = 0; d < documents.num_documents(); ++d) {
    context.data_tokens += documents.size(d);
  }
  return context;
}

// Less than any NLL.
constexpr double kNotScored = -std::numeric_limits<double>::infinity();

struct Scores {
  Results results;
  // Of every target of --tokens, if requested: on rank 0. NaN for targets
  // beyond evaluation.max_tokens.
  at::Tensor nll_BT;
};

// A file of token ids has no journal: it may change between two evaluations.
absl::StatusOr<std::optional<DocumentJournal>> OpenJournal(const Job& job,
                                                           DeviceMesh& mesh) {
  if (job.results_folder.empty() || !job.input->dataset) return std::nullopt;
  LEXTRA_ASSIGN_OR_RETURN(
      DocumentJournal journal,
      DocumentJournal::Open(job.results_folder, job.subject, mesh));
  if (journal.size() > 0) {
    LogInfo(
        "%s/documents.jsonl has %d scored documents of this checkpoint and "
        "data: skipping them (remove the file to score them again)",
        job.results_folder, journal.size());
  }
  return journal;
}

absl::StatusOr<Scores> Score(const Job& job, Transformer& model,
                             DeviceMesh& mesh) {
  Scores scores;
  DocumentNllSink nll_sink;
  // One rank per data coordinate keeps what that coordinate scores.
  const bool keeps_nll = !job.nll_out.empty() && mesh.context().rank() == 0 &&
                         mesh.tensor().rank() == 0;
  if (keeps_nll) {
    const at::Tensor& tokens_BT = job.input->tokens_BT;
    scores.nll_BT = at::full(
        {tokens_BT.size(0), std::max<int64_t>(0, tokens_BT.size(1) - 1)},
        kNotScored, at::kDouble);
    nll_sink = [&](int64_t document, int64_t first, const at::Tensor& nll_T) {
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
               {.journal = journal ? &*journal : nullptr,
                .nll_sink = nll_sink,
                .averages_bytes = true}));
  if (journal) LEXTRA_RETURN_IF_ERROR(journal->Finish());
  LEXTRA_ASSIGN_OR_RETURN(scores.results.resolution,
                          MeasureResolution(model, mesh, *job.input->documents,
                                            job.config.evaluation()));
  LEXTRA_ASSIGN_OR_RETURN(
      scores.results.synthetic,
      RunSyntheticTasks(model, mesh, *job.input->documents, job.tokenizer.get(),
                        job.config.evaluation()));
  if (keeps_nll) {
    AllReduceOnHost(scores.nll_BT, ReduceOp::kMax, mesh.data());
    scores.nll_BT.masked_fill_(scores.nll_BT == kNotScored,
                               std::numeric_limits<double>::quiet_NaN());
  }
  return scores;
}

// One process: prints the tables and writes all files, results.json last.
absl::Status ReportScores(const Job& job, const Scores& scores,
                          const std::vector<std::string>& arguments) {
  const std::string json =
      ResultsJson(scores.results, ContextOf(job, arguments));
  const std::string path = job.results_folder + "/results.json";
  LEXTRA_ASSIGN_OR_RETURN(const ReportData report, ReportDataOf(path, json));
  PrintResult(ReportTables(report));
  if (!job.nll_out.empty()) {
    LEXTRA_RETURN_IF_ERROR(
        WriteTensorFile(job.nll_out, {{"nll", scores.nll_BT}}));
  }
  if (job.results_folder.empty()) return absl::OkStatus();
  LEXTRA_RETURN_IF_ERROR(
      WriteReport(job.results_folder, report,
                  "Evaluation of " + AbsolutePath(job.step_folder)));
  return AtomicWrite(path, json);
}

}  // namespace

absl::Status RunEvaluate(Session& session,
                         const std::vector<std::string>& arguments) {
  MpiSession& mpi = *session.mpi;
  EvaluateOptions options;
  CommandLine line = EvaluateCommandLine(&options);
  LEXTRA_ASSIGN_OR_RETURN(const bool helped, line.ParseOrHelp(arguments));
  if (helped) return absl::OkStatus();
  options.overrides.insert(options.overrides.end(), line.rest().begin(),
                           line.rest().end());
  LEXTRA_RETURN_IF_ERROR(CheckEvaluateOptions(options));
  LEXTRA_RETURN_IF_ERROR(CheckWorldSize(mpi, options.expect_world_size));

  const std::unique_ptr<Communicator> world = mpi.World();
  LEXTRA_ASSIGN_OR_RETURN(const Job job,
                          PrepareJob(options, mpi.size(), *world));
  LEXTRA_ASSIGN_OR_RETURN(const std::unique_ptr<RunLock> lock,
                          TakeOutputsOfJob(job, *world));
  const ParallelConfig& parallel = job.config.parallel();
  StartWatchdog(session, parallel.timeout_seconds());
  LEXTRA_RETURN_IF_ERROR(SetUpThreads(mpi, parallel));
  LEXTRA_ASSIGN_OR_RETURN(const std::unique_ptr<DeviceMesh> mesh,
                          MakeMesh(mpi, parallel));
  Transformer model(job.config.model(), mesh->tensor());
  mpi.activity().SetPhase(Phase::kLoad);
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(
      *world, LoadWeights(job.step_folder, job.manifest, job.saved_precision,
                          mesh->tensor(), &model)));
  LogInfo(
      "%s; %d rank(s): data %d x context %d x tensor %d; %d document(s) of %s",
      job.step_folder, mpi.size(), parallel.data(), parallel.context(),
      parallel.tensor(), job.input->documents->num_documents(),
      job.input->path);

  mpi.activity().SetPhase(Phase::kEvaluation);
  LEXTRA_ASSIGN_OR_RETURN(const Scores scores, Score(job, model, *mesh));
  mpi.activity().SetPhase(Phase::kSave);
  absl::Status reported;
  if (world->rank() == 0) reported = ReportScores(job, scores, arguments);
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(*world, reported));
  LEXTRA_RETURN_IF_ERROR(mesh->Finalize());
  return world->Finalize();
}

}  // namespace lextra

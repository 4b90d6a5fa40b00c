#include "evaluator/synthetic/synthetic_tasks.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "base/seeds.h"
#include "config/position_methods.h"
#include "data/tokenizer.h"
#include "evaluator/scoring/long_document_scorer.h"
#include "evaluator/synthetic/synthetic_trials.h"
#include "parallel/agreement.h"
#include "parallel/device_copy.h"

namespace lextra {
namespace {

constexpr double kDepths[] = {0, 0.25, 0.5, 0.75, 1};

// The task of one row.
struct Task {
  const char* name;
  int64_t length;
  std::optional<double> depth;

  SyntheticTrial Make(const std::vector<int64_t>& filler, uint64_t seed) const {
    return depth ? PasskeyTrial(length, *depth, filler, seed)
                 : InductionTrial(length, filler, seed);
  }
};

std::vector<Task> TasksOf(const EvaluationConfig& config) {
  std::vector<Task> tasks;
  if (config.synthetic_trials() == 0) return tasks;
  for (const int64_t length : config.passkey_lengths()) {
    for (const double depth : kDepths) {
      tasks.push_back({"passkey", length, depth});
    }
  }
  for (const int64_t length : config.induction_lengths()) {
    tasks.push_back({"induction", length, std::nullopt});
  }
  return tasks;
}

absl::Status CheckTasks(const Documents& documents, const Tokenizer* tokenizer,
                        const ModelConfig& model,
                        const std::vector<Task>& tasks) {
  if (tasks.empty()) return absl::OkStatus();
  if (tokenizer == nullptr || !tokenizer->ids_are_bytes()) {
    return UsageError(
        "evaluation.passkey_lengths and induction_lengths need a tokenizer "
        "whose ids are bytes, and the model's are not; set them to []");
  }
  int64_t longest = 0;
  for (const Task& task : tasks) longest = std::max(longest, task.length);
  LEXTRA_RETURN_IF_ERROR(CheckHasPlaces(
      model, longest, "choose shorter synthetic tasks (evaluation.*_lengths)"));
  if (DocumentsLongerThan(documents, longest, 1).empty()) {
    return InputError(absl::StrFormat(
        "no document has more than %d tokens, which the longest of "
        "evaluation.passkey_lengths and induction_lengths needs",
        longest));
  }
  return absl::OkStatus();
}

// Correct answers of trials [first, last), scored side by side; NaN if one has
// no finite logits.
double CountCorrect(const Task& task, const Documents& documents,
                    const std::vector<int64_t>& long_documents, int64_t first,
                    int64_t last, LongDocumentScorer& scorer) {
  const at::Tensor tokens_BT =
      at::empty({last - first, task.length}, at::kLong);
  int64_t first_answer = 0;
  for (int64_t trial = first; trial < last; ++trial) {
    const uint64_t seed = SeedFor(
        trial,
        absl::StrCat(task.name, task.length, "@", task.depth.value_or(-1)));
    const std::vector<int64_t> filler =
        TrialFiller(documents, long_documents, task.length, seed);
    const SyntheticTrial made = task.Make(filler, seed);
    std::copy(made.tokens.begin(), made.tokens.end(),
              tokens_BT[trial - first].mutable_data_ptr<int64_t>());
    first_answer = made.first_answer;
  }
  const at::Tensor answers = scorer.Score(tokens_BT).narrow(
      1, first_answer - 1, task.length - first_answer);
  // All digits of a key together, or each copied byte separately.
  const at::Tensor correct = task.depth ? std::get<0>(answers.min(1)) : answers;
  return correct.sum().item<double>();
}

// Over all trials, distributed over the data axis in groups that fill the
// ranks.
double CountCorrect(const Task& task, const Documents& documents,
                    int64_t num_trials, LongDocumentScorer& scorer,
                    Communicator& data_axis) {
  const std::vector<int64_t> long_documents =
      DocumentsLongerThan(documents, task.length);
  const int64_t at_once = scorer.DocumentsAtOnce(task.length);
  double mine = 0;
  int64_t group = 0;
  for (int64_t first = 0; first < num_trials; first += at_once, ++group) {
    if (group % data_axis.size() != data_axis.rank()) continue;
    mine += CountCorrect(task, documents, long_documents, first,
                         std::min(first + at_once, num_trials), scorer);
    data_axis.activity().Tick();
  }
  const at::Tensor correct = at::full({1}, mine, at::kDouble);
  AllReduceOnHost(correct, ReduceOp::kSum, data_axis);
  return correct.item<double>();
}

}  // namespace

absl::Status CheckSyntheticTasks(const Documents& documents,
                                 const Tokenizer* tokenizer,
                                 const ModelConfig& model,
                                 const EvaluationConfig& config) {
  return CheckTasks(documents, tokenizer, model, TasksOf(config));
}

absl::StatusOr<std::vector<SyntheticRow>> RunSyntheticTasks(
    Transformer& model, DeviceMesh& mesh, const Documents& documents,
    const Tokenizer* tokenizer, const EvaluationConfig& config) {
  const std::vector<Task> tasks = TasksOf(config);
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(
      mesh.world(), CheckTasks(documents, tokenizer, model.config(), tasks)));
  std::vector<SyntheticRow> rows;
  for (const int kind : config.masks()) {
    const EvaluatedMask mask = {.mask =
                                    MaskOf(static_cast<Mask>(kind), config)};
    for (const Task& task : tasks) {
      LongDocumentScorer::Options options = ScorerOptions(mask, config);
      options.top1 = true;
      LongDocumentScorer scorer(model, mesh, options);
      const double correct = CountCorrect(
          task, documents, config.synthetic_trials(), scorer, mesh.data());
      if (!std::isfinite(correct)) {
        return NumericError(absl::StrFormat(
            "%s %s at %d: logits are not finite; remove this mask or length",
            task.name, mask.Text(), task.length));
      }
      const int64_t answers = task.depth ? 1 : kInductionAnswers;
      rows.push_back({.task = task.name,
                      .mask = mask,
                      .length = task.length,
                      .depth = task.depth,
                      .trials = config.synthetic_trials() * answers,
                      .correct = static_cast<int64_t>(correct)});
    }
    if (!tasks.empty()) {
      LogInfo("synthetic tasks with %s: done", mask.Text());
    }
  }
  return rows;
}

}  // namespace lextra

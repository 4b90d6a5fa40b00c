#include "config/resolve.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "config/fields.h"
#include "config/model_facts.h"
#include "config/position_methods.h"
#include "config/ranges.h"

namespace lextra {
namespace {

constexpr int64_t kMaxLength = int64_t{1} << 40;
constexpr int64_t kLengthFactors[] = {1, 4, 16, 64};

// xPos's keys are cut into pieces within which factors stay in range
// (model/attention/piecewise_attention.h): with this they hold at least 8
// positions.
constexpr double kFastestFading = 8;

double LeastScaleBase(double gamma) {
  return (std::log1p(gamma) - std::log(gamma)) / kFastestFading;
}

// One resolution: derives in order and collects every problem. A refused field
// takes its default from then on, and rules that read it report nothing.
class Resolution {
 public:
  Resolution(RunConfig* config, Purpose purpose, int world_size)
      : config_(*config), purpose_(purpose), world_size_(world_size) {}

  absl::Status Run() {
    MakeDefaultsExplicit(&config_);
    CheckRanges(Ranges());
    if (purpose_ == Purpose::kTrain) CheckRanges(TrainingRanges());
    ResolveMesh();
    ResolveModel();
    ResolveEvaluation();
    if (purpose_ == Purpose::kTrain) ResolveTraining();
    if (problems_.empty()) return absl::OkStatus();
    return UsageError(absl::StrJoin(problems_, "\n"));
  }

 private:
  void CheckRanges(std::span<const Range> ranges);

  // Records a problem of `field` unless the rule holds. `others`: fields that
  // the rule also reads.
  void Require(bool holds, const std::string& field, const std::string& allowed,
               const std::vector<std::string>& others = {});
  void RequireMultiple(const std::string& field, const std::string& divisor,
                       const std::string& hint);
  bool IsRefused(const std::string& field) const {
    return refused_.contains(field);
  }

  int64_t ShortestLength() const {
    return *std::ranges::min_element(config_.evaluation().lengths());
  }

  void ResolveMesh();
  void ResolveModel();
  void ResolveEvaluation();
  void FillEvaluationLists();
  void CheckEvaluationLists();
  void CheckEvaluationInTraining();
  void CheckMasksAndProtocols();
  void CheckBlockwiseEvaluation();
  void ResolveTraining();
  void ResolveBatch();

  RunConfig& config_;
  Purpose purpose_;
  int64_t world_size_;
  std::vector<std::string> problems_;
  absl::flat_hash_set<std::string> refused_;
};

void Resolution::CheckRanges(std::span<const Range> ranges) {
  for (const Range& range : ranges) {
    const ConfigField& field = FieldNamed(range.field);
    if (range.Holds(NumberOf(config_, field))) continue;
    Require(false, range.field, range.Text());
    SetToDefault(&config_, field);
    refused_.insert(range.field);
  }
}

void Resolution::Require(bool holds, const std::string& field,
                         const std::string& allowed,
                         const std::vector<std::string>& others) {
  if (holds || IsRefused(field)) return;
  for (const std::string& other : others) {
    if (IsRefused(other)) return;
  }
  problems_.push_back(absl::StrCat(field, " = ",
                                   ValueText(config_, FieldNamed(field)),
                                   ": expected ", allowed));
}

void Resolution::RequireMultiple(const std::string& field,
                                 const std::string& divisor,
                                 const std::string& hint) {
  const ConfigField& by = FieldNamed(divisor);
  const auto value = static_cast<int64_t>(NumberOf(config_, FieldNamed(field)));
  Require(value % static_cast<int64_t>(NumberOf(config_, by)) == 0, field,
          absl::StrCat("a multiple of ", divisor, " = ", ValueText(config_, by),
                       " (", hint, ")"),
          {divisor});
}

void Resolution::ResolveMesh() {
  ParallelConfig& parallel = *config_.mutable_parallel();
  Require(parallel.timeout_seconds() == 0 || parallel.timeout_seconds() >= 1,
          "parallel.timeout_seconds", "0 (no watchdog) or at least 1");
  Require(purpose_ == Purpose::kEvaluate || parallel.context() == 1,
          "parallel.context",
          "1 in training (only the evaluator splits a document over ranks)");
  const int64_t per_copy = int64_t{parallel.context()} * parallel.tensor();
  const int64_t copies = world_size_ / per_copy;
  const bool fits = copies * per_copy == world_size_ &&
                    (parallel.data() == 0 || parallel.data() == copies);
  const bool in_range = !IsRefused("parallel.data") &&
                        !IsRefused("parallel.context") &&
                        !IsRefused("parallel.tensor");
  if (fits && in_range) {
    parallel.set_data(static_cast<int32_t>(copies));
    return;
  }
  const std::string copy =
      absl::StrCat(parallel.context(), " * ", parallel.tensor());
  if (in_range && parallel.data() == 0) {
    problems_.push_back(absl::StrCat(
        "parallel.context * parallel.tensor = ", copy,
        ": expected a divisor of the world size, ", world_size_,
        " (start a multiple of ", per_copy, " ranks with mpirun -np)"));
  } else if (in_range) {
    problems_.push_back(absl::StrCat(
        "parallel.data * parallel.context * parallel.tensor = ",
        parallel.data(), " * ", copy, ": expected the world size, ",
        world_size_,
        " (change mpirun -np, or set parallel.data=0 to use all ranks)"));
  }
  parallel.set_data(1);
  refused_.insert("parallel.data");
}

void Resolution::ResolveModel() {
  ModelConfig& model = *config_.mutable_model();
  if (model.num_kv_heads() == 0) model.set_num_kv_heads(model.num_heads());
  if (model.ffn_hidden_size() == 0)
    model.set_ffn_hidden_size(4 * model.hidden_size());
  if (model.head_dim() == 0) {
    RequireMultiple("model.hidden_size", "model.num_heads",
                    "or set model.head_dim");
    if (model.hidden_size() % model.num_heads() != 0) {
      refused_.insert("model.head_dim");
    }
    model.set_head_dim(model.hidden_size() / model.num_heads());
  }
  RequireMultiple("model.num_heads", "model.num_kv_heads",
                  "each key/value head serves the same number of query heads");
  const PositionMethodFacts& method = FactsOf(model.position_encoding());
  Require(!method.rotates || model.head_dim() % 2 == 0, "model.head_dim",
          absl::StrCat("an even number, because ",
                       PositionMethod_Name(model.position_encoding()),
                       " rotates pairs"),
          {"model.hidden_size", "model.num_heads"});
  Require(!method.has_exponent ||
              model.xpos_scale_base() >= LeastScaleBase(model.xpos_gamma()),
          "model.xpos_scale_base",
          absl::StrFormat(
              "at least %.4g with model.xpos_gamma = %g (from one position to "
              "the next the fastest pair may fade by at most e^-%g)",
              LeastScaleBase(model.xpos_gamma()), model.xpos_gamma(),
              kFastestFading),
          {"model.xpos_gamma"});
  Require(!method.embeds_pairs || model.hidden_size() % 2 == 0,
          "model.hidden_size",
          absl::StrCat("an even number, because ",
                       PositionMethod_Name(model.position_encoding()),
                       " has pairs of columns"));
  const std::string hint = "choose another tensor degree or size";
  RequireMultiple("model.num_heads", "parallel.tensor", hint);
  RequireMultiple("model.num_kv_heads", "parallel.tensor", hint);
  RequireMultiple("model.ffn_hidden_size", "parallel.tensor", hint);
  const int64_t padded = PaddedVocab(model);
  const int32_t tensor = config_.parallel().tensor();
  Require(padded % tensor == 0, "model.vocab_size",
          absl::StrCat("its padded size ", padded,
                       " to be a multiple of parallel.tensor = ", tensor,
                       " (set model.pad_vocab_to_multiple_of to a multiple)"),
          {"model.pad_vocab_to_multiple_of", "parallel.tensor"});
}

template <typename List>
bool HasRepeats(const List& list) {
  const absl::flat_hash_set<int64_t> values(list.begin(), list.end());
  return std::ssize(values) < list.size();
}

void Resolution::ResolveEvaluation() {
  FillEvaluationLists();
  CheckEvaluationLists();
  if (purpose_ == Purpose::kTrain) {
    CheckEvaluationInTraining();
    return;
  }
  EvaluationConfig& evaluation = *config_.mutable_evaluation();
  // Not stored with a checkpoint: an evaluation may choose other lengths.
  if (evaluation.stride() == 0) {
    evaluation.set_stride(std::max<int64_t>(1, ShortestLength() / 2));
  }
  CheckMasksAndProtocols();
}

void Resolution::FillEvaluationLists() {
  EvaluationConfig& evaluation = *config_.mutable_evaluation();
  const int64_t training_length = config_.model().training_length();
  if (evaluation.masks().empty()) {
    evaluation.add_masks(CAUSAL);
    evaluation.add_masks(BCA);
  }
  if (evaluation.lengths().empty()) {
    for (const int64_t factor : kLengthFactors) {
      evaluation.add_lengths(factor * training_length);
    }
  }
  if (evaluation.protocols().empty()) {
    evaluation.add_protocols(NON_OVERLAPPING);
  }
  if (evaluation.rope_scaling().empty()) {
    evaluation.add_rope_scaling(RopeScaling::NONE);
  }
  // An odd training length has no half; training itself needs none.
  if (evaluation.block_size() == 0 && training_length % 2 == 0) {
    evaluation.set_block_size(training_length / 2);
  }
  if (evaluation.window_size() == 0) {
    evaluation.set_window_size(training_length);
  }
}

void Resolution::CheckEvaluationLists() {
  const EvaluationConfig& evaluation = config_.evaluation();
  const auto in_range = [&](const auto& lengths, int64_t shortest,
                            const char* field) {
    Require(std::ranges::all_of(lengths,
                                [&](int64_t length) {
                                  return length >= shortest &&
                                         length <= kMaxLength;
                                }),
            field,
            absl::StrCat("values of at least ", shortest, " and at most ",
                         kMaxLength));
  };
  in_range(evaluation.lengths(), 1, "evaluation.lengths");
  in_range(evaluation.resolution_lengths(), 1, "evaluation.resolution_lengths");
  in_range(evaluation.passkey_lengths(), kShortestTask,
           "evaluation.passkey_lengths");
  in_range(evaluation.induction_lengths(), kShortestTask,
           "evaluation.induction_lengths");
  const auto unique = [&](const auto& list, const char* field) {
    Require(!HasRepeats(list), field, "no duplicates");
  };
  unique(evaluation.rope_scaling(), "evaluation.rope_scaling");
  unique(evaluation.resolution_lengths(), "evaluation.resolution_lengths");
  unique(evaluation.masks(), "evaluation.masks");
  unique(evaluation.lengths(), "evaluation.lengths");
  unique(evaluation.protocols(), "evaluation.protocols");
}

void Resolution::CheckEvaluationInTraining() {
  if (config_.evaluation().validation_tokens() == 0) return;
  CheckBlockwiseEvaluation();
  const PositionMethod method = config_.model().position_encoding();
  Require(!FactsOf(method).is_learned, "evaluation.validation_tokens",
          absl::StrCat("0, because ", PositionMethod_Name(method),
                       " has no positions beyond the training length"));
}

void Resolution::CheckMasksAndProtocols() {
  const EvaluationConfig& evaluation = config_.evaluation();
  const auto has = [](const auto& list, int wanted) {
    return std::ranges::find(list, wanted) != list.end();
  };
  if (has(evaluation.masks(), BCA)) CheckBlockwiseEvaluation();
  if (has(evaluation.masks(), WINDOW_AND_SINKS)) {
    Require(evaluation.num_sinks() <= evaluation.window_size(),
            "evaluation.num_sinks",
            absl::StrCat("at most evaluation.window_size = ",
                         evaluation.window_size()),
            {"evaluation.window_size"});
  }
  if (has(evaluation.protocols(), SLIDING) ||
      has(evaluation.protocols(), SAME_TARGETS)) {
    Require(
        evaluation.stride() <= ShortestLength(), "evaluation.stride",
        absl::StrCat("at most the shortest of evaluation.lengths, ",
                     ShortestLength(), " (each piece scores its last targets)"),
        {"evaluation.lengths"});
  }
  const bool scales =
      std::ranges::any_of(evaluation.rope_scaling(),
                          [](int value) { return value != RopeScaling::NONE; });
  if (!scales) return;
  const PositionMethod method = config_.model().position_encoding();
  Require(FactsOf(method).rotates, "evaluation.rope_scaling",
          absl::StrCat("[NONE], because ", PositionMethod_Name(method),
                       " has no angles to scale (XPOS and ROPE do)"));
}

void Resolution::CheckBlockwiseEvaluation() {
  const EvaluationConfig& evaluation = config_.evaluation();
  const int64_t training_length = config_.model().training_length();
  Require(evaluation.block_size() > 0, "model.training_length",
          "an even number, because a BCA block is half of it (or set "
          "evaluation.block_size)",
          {"evaluation.block_size"});
  Require(evaluation.block_size() <= training_length, "evaluation.block_size",
          absl::StrCat("at most model.training_length = ", training_length,
                       " (a query sees up to two blocks of keys)"),
          {"model.training_length"});
  Require(evaluation.segment_tokens() >= evaluation.block_size(),
          "evaluation.segment_tokens",
          absl::StrCat("at least evaluation.block_size = ",
                       evaluation.block_size()),
          {"evaluation.block_size", "model.training_length"});
}

void Resolution::ResolveTraining() {
  const ScheduleConfig& schedule = config_.schedule();
  Require(!config_.data().train().empty(), "data.train",
          "the prefix of a token data set written by lextra prepare");
  Require(schedule.warmup_steps() <= schedule.num_steps(),
          "schedule.warmup_steps",
          absl::StrCat("at most schedule.num_steps = ", schedule.num_steps()),
          {"schedule.num_steps"});
  Require(schedule.decay() == CONSTANT ||
              schedule.min_learning_rate() <= schedule.learning_rate(),
          "schedule.min_learning_rate",
          absl::StrCat("at most schedule.learning_rate = ",
                       schedule.learning_rate()),
          {"schedule.learning_rate"});
  const double spike_z_threshold = config_.optimizer().spike_z_threshold();
  Require(spike_z_threshold == 0 || spike_z_threshold >= 1,
          "optimizer.spike_z_threshold",
          "0 (never skip a spike) or at least 1 (smaller values would skip "
          "ordinary steps)");
  if (config_.parallel().sequence_parallel()) {
    RequireMultiple("model.training_length", "parallel.tensor",
                    "or set parallel.sequence_parallel=false");
  }
  ResolveBatch();
}

void Resolution::ResolveBatch() {
  DataConfig& data = *config_.mutable_data();
  const int32_t copies = config_.parallel().data();
  RequireMultiple("data.global_batch_size", "parallel.data",
                  "every data rank takes the same number of samples");
  if (data.global_batch_size() % copies != 0) return;
  const int32_t per_copy = data.global_batch_size() / copies;
  if (data.micro_batch_size() == 0) data.set_micro_batch_size(per_copy);
  Require(per_copy % data.micro_batch_size() == 0, "data.micro_batch_size",
          absl::StrCat("a divisor of the ", per_copy,
                       " samples of a data rank (data.global_batch_size / "
                       "parallel.data)"),
          {"data.global_batch_size", "parallel.data"});
}

}  // namespace

absl::Status Resolve(RunConfig* config, Purpose purpose, int world_size) {
  RunConfig resolved = *config;
  LEXTRA_RETURN_IF_ERROR(Resolution(&resolved, purpose, world_size).Run());
  *config = std::move(resolved);
  return absl::OkStatus();
}

}  // namespace lextra

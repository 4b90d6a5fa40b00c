#include "config/resolve.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
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

namespace lextra {
namespace {

constexpr double kNoBound = std::numeric_limits<double>::max();
constexpr int64_t kMaxLength = int64_t{1} << 40;
constexpr int64_t kLengthFactors[] = {1, 4, 16, 64};

// What a number may be, whatever the other fields hold. Upper bounds of sizes
// only keep products of them within 64 bits; no machine reaches them.
struct Range {
  const char* field;
  double min;
  double max = kNoBound;
  bool open = false;  // min and max themselves are not allowed
};

constexpr Range kAlways[] = {
    {"model.num_layers", 1, 1 << 16},
    {"model.width", 1, 1 << 20},
    {"model.num_heads", 1, 1 << 16},
    {"model.num_kv_heads", 0, 1 << 16},
    {"model.head_size", 0, 1 << 16},
    {"model.ffn_width", 0, 1 << 24},
    {"model.vocab_size", 0, 1 << 30},
    {"model.vocab_multiple", 1, 1 << 20},
    {"model.training_length", 1, 1 << 24},
    {"model.norm_epsilon", 0, kNoBound, true},
    {"model.embedding_scale", 0, kNoBound, true},
    {"model.xpos_gamma", 0, kNoBound, true},
    {"model.xpos_scale_base", 0, kNoBound, true},
    {"model.rotary_base", 0, kNoBound, true},
    {"model.init_std", 0, kNoBound, true},
    {"parallel.data", 0},
    {"parallel.sequence", 1},
    {"parallel.tensor", 1},
    {"parallel.num_threads", 0, 1 << 12},
    {"parallel.bucket_bytes", 1},
    {"parallel.timeout_seconds", 0, 1e9},
    {"evaluation.block_size", 0},
    {"evaluation.window_size", 0, 1 << 30},
    {"evaluation.num_sinks", 1, 1 << 20},
    {"evaluation.stride", 0},
    {"evaluation.max_tokens", 0},
    {"evaluation.resolution_documents", 1, 1 << 20},
    {"evaluation.synthetic_trials", 0, 1 << 20},
    {"evaluation.segment_tokens", 1, 1 << 30},
};

constexpr Range kInTraining[] = {
    {"data.global_batch", 1, 1 << 24},
    {"data.micro_batch", 0, 1 << 24},
    {"optimizer.beta1", 0, 1, true},
    {"optimizer.beta2", 0, 1, true},
    {"optimizer.epsilon", 0, kNoBound, true},
    {"optimizer.weight_decay", 0},
    {"optimizer.clip_norm", 0},
    {"optimizer.max_skipped_in_a_row", 0},
    {"optimizer.skip_z_score", 0},
    {"schedule.num_steps", 1},
    {"schedule.learning_rate", 0},
    {"schedule.min_learning_rate", 0},
    {"schedule.warmup_steps", 0},
    {"parallel.compare_replicas_every", 0},
    {"parallel.zero_stage", 0, 1},
    {"checkpoint.every_steps", 0},
    {"checkpoint.keep_last", 2},
    {"checkpoint.keep_every", 0},
    {"checkpoint.every_seconds", 0},
    {"evaluation.every_steps", 0},
    {"evaluation.validation_samples", 1},
    {"evaluation.validation_tokens", 0},
    {"logging.every_steps", 1},
};

std::string Allowed(const Range& range) {
  const auto words = [&](const char* above, const char* below) {
    return range.max == kNoBound
               ? absl::StrCat(above, range.min)
               : absl::StrCat(above, range.min, below, range.max);
  };
  if (range.open) return words("above ", " and below ");
  return words("at least ", " and at most ");
}

bool IsAllowed(double value, const Range& range) {
  if (range.open) {
    return value > range.min &&
           (range.max == kNoBound ? value <= range.max : value < range.max);
  }
  return value >= range.min && value <= range.max;  // false for a NaN
}

// xPos's keys are cut into pieces within which factors stay in range
// (model/attention/piecewise_attention.h): with this they hold at least 8
// positions.
constexpr double kFastestFading = 8;

double LeastScaleBase(double gamma) {
  return (std::log1p(gamma) - std::log(gamma)) / kFastestFading;
}

// One resolution: derives in order and keeps every problem it meets. A refused
// field takes its default for the rest, and rules that read it say nothing.
class Resolution {
 public:
  Resolution(RunConfig* config, Purpose purpose, int world_size)
      : config_(*config), purpose_(purpose), world_size_(world_size) {}

  absl::Status Run() {
    MakeDefaultsExplicit(&config_);
    CheckRanges(kAlways);
    if (purpose_ == Purpose::kTrain) CheckRanges(kInTraining);
    ResolveMesh();
    ResolveModel();
    ResolveEvaluation();
    if (purpose_ == Purpose::kTrain) ResolveTraining();
    if (problems_.empty()) return absl::OkStatus();
    return UsageError(absl::StrJoin(problems_, "\n"));
  }

 private:
  void CheckRanges(std::span<const Range> ranges);

  // Notes a problem of `field` unless the rule holds. `others`: fields that the
  // rule also reads.
  void Require(bool holds, const std::string& field, const std::string& allowed,
               const std::vector<std::string>& others = {});
  void RequireMultiple(const std::string& field, const std::string& divisor,
                       const std::string& hint);
  bool IsRefused(const std::string& field) const {
    return refused_.contains(field);
  }

  void ResolveMesh();
  void ResolveModel();
  void ResolveEvaluation();
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
    if (IsAllowed(NumberOf(config_, field), range)) continue;
    Require(false, range.field, Allowed(range));
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
  problems_.push_back(absl::StrCat(
      field, " = ", ValueText(config_, FieldNamed(field)), ": ", allowed));
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
  Require(purpose_ == Purpose::kEvaluate || parallel.sequence() == 1,
          "parallel.sequence",
          "1 in training (only the evaluator spreads a document over ranks)");
  const int64_t per_copy = int64_t{parallel.sequence()} * parallel.tensor();
  const int64_t copies = world_size_ / per_copy;
  const bool fits = copies * per_copy == world_size_ &&
                    (parallel.data() == 0 || parallel.data() == copies);
  const bool in_range = !IsRefused("parallel.data") &&
                        !IsRefused("parallel.sequence") &&
                        !IsRefused("parallel.tensor");
  if (fits && in_range) {
    parallel.set_data(static_cast<int32_t>(copies));
    return;
  }
  const std::string copy =
      absl::StrCat(parallel.sequence(), " * ", parallel.tensor());
  if (in_range && parallel.data() == 0) {
    problems_.push_back(absl::StrCat(
        "parallel.sequence * parallel.tensor = ", copy,
        ": a divisor of the number of ranks, ", world_size_,
        " (start a multiple of ", per_copy, " ranks with mpirun -np)"));
  } else if (in_range) {
    problems_.push_back(absl::StrCat(
        "parallel.data * parallel.sequence * parallel.tensor = ",
        parallel.data(), " * ", copy, ": must be the number of ranks, ",
        world_size_,
        " (change mpirun -np, or set parallel.data=0 for all there are)"));
  }
  parallel.set_data(1);
  refused_.insert("parallel.data");
}

void Resolution::ResolveModel() {
  ModelConfig& model = *config_.mutable_model();
  if (model.num_kv_heads() == 0) model.set_num_kv_heads(model.num_heads());
  if (model.ffn_width() == 0) model.set_ffn_width(4 * model.width());
  if (model.head_size() == 0) {
    RequireMultiple("model.width", "model.num_heads", "or set model.head_size");
    if (model.width() % model.num_heads() != 0) {
      refused_.insert("model.head_size");
    }
    model.set_head_size(model.width() / model.num_heads());
  }
  RequireMultiple("model.num_heads", "model.num_kv_heads",
                  "each key/value head serves as many query heads");
  const PositionMethodFacts& method = FactsOf(model.position());
  Require(!method.rotates || model.head_size() % 2 == 0, "model.head_size",
          absl::StrCat("even, because ", PositionMethod_Name(model.position()),
                       " rotates pairs"),
          {"model.width", "model.num_heads"});
  Require(!method.has_exponent ||
              model.xpos_scale_base() >= LeastScaleBase(model.xpos_gamma()),
          "model.xpos_scale_base",
          absl::StrFormat(
              "at least %.4g with model.xpos_gamma = %g (from one position to "
              "the next the fastest pair may fade by e^-%g, no more)",
              LeastScaleBase(model.xpos_gamma()), model.xpos_gamma(),
              kFastestFading),
          {"model.xpos_gamma"});
  Require(!method.embeds_pairs || model.width() % 2 == 0, "model.width",
          absl::StrCat("even, because ", PositionMethod_Name(model.position()),
                       " has pairs of columns"));
  const std::string hint = "choose another tensor degree or size";
  RequireMultiple("model.num_heads", "parallel.tensor", hint);
  RequireMultiple("model.num_kv_heads", "parallel.tensor", hint);
  RequireMultiple("model.ffn_width", "parallel.tensor", hint);
  const int64_t padded = PaddedVocab(model);
  const int32_t tensor = config_.parallel().tensor();
  Require(padded % tensor == 0, "model.vocab_size",
          absl::StrCat("padded to ", padded,
                       ", a multiple of parallel.tensor = ", tensor,
                       " (choose model.vocab_multiple as one)"),
          {"model.vocab_multiple", "parallel.tensor"});
}

template <typename List>
bool HasRepeats(const List& list) {
  const absl::flat_hash_set<int64_t> values(list.begin(), list.end());
  return std::ssize(values) < list.size();
}

void Resolution::ResolveEvaluation() {
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
  if (evaluation.extensions().empty()) evaluation.add_extensions(UNCHANGED);
  // An odd training length has no half; training itself needs none.
  if (evaluation.block_size() == 0 && training_length % 2 == 0) {
    evaluation.set_block_size(training_length / 2);
  }
  if (evaluation.window_size() == 0)
    evaluation.set_window_size(training_length);
  const auto in_range = [](int64_t length) {
    return length >= 1 && length <= kMaxLength;
  };
  const std::string range =
      absl::StrCat("each at least 1 and at most ", kMaxLength);
  Require(std::ranges::all_of(evaluation.lengths(), in_range),
          "evaluation.lengths", range);
  Require(std::ranges::all_of(evaluation.resolution_lengths(), in_range),
          "evaluation.resolution_lengths", range);
  const auto holds_a_task = [](int64_t length) {
    return length >= kShortestTask && length <= kMaxLength;
  };
  const std::string task_range = absl::StrCat("each at least ", kShortestTask,
                                              " and at most ", kMaxLength);
  Require(std::ranges::all_of(evaluation.passkey_lengths(), holds_a_task),
          "evaluation.passkey_lengths", task_range);
  Require(std::ranges::all_of(evaluation.induction_lengths(), holds_a_task),
          "evaluation.induction_lengths", task_range);
  const int64_t shortest = *std::ranges::min_element(evaluation.lengths());
  const std::string once = "no value twice";
  Require(!HasRepeats(evaluation.extensions()), "evaluation.extensions", once);
  Require(!HasRepeats(evaluation.resolution_lengths()),
          "evaluation.resolution_lengths", once);
  Require(!HasRepeats(evaluation.masks()), "evaluation.masks", once);
  Require(!HasRepeats(evaluation.lengths()), "evaluation.lengths", once);
  Require(!HasRepeats(evaluation.protocols()), "evaluation.protocols", once);
  const auto has = [](const auto& list, int wanted) {
    return std::ranges::find(list, wanted) != list.end();
  };
  if (purpose_ == Purpose::kTrain) {
    if (evaluation.validation_tokens() == 0) return;
    CheckBlockwiseEvaluation();
    Require(!FactsOf(config_.model().position()).is_learned,
            "evaluation.validation_tokens",
            absl::StrCat("0, because ",
                         PositionMethod_Name(config_.model().position()),
                         " has no places beyond the training length"));
    return;
  }
  // Not stored with a checkpoint: an evaluation may choose other lengths.
  if (evaluation.stride() == 0) {
    evaluation.set_stride(std::max<int64_t>(1, shortest / 2));
  }
  if (has(evaluation.masks(), BCA)) CheckBlockwiseEvaluation();
  if (has(evaluation.masks(), SINKS)) {
    Require(evaluation.num_sinks() <= evaluation.window_size(),
            "evaluation.num_sinks",
            absl::StrCat("at most evaluation.window_size = ",
                         evaluation.window_size()),
            {"evaluation.window_size"});
  }
  if (has(evaluation.protocols(), SLIDING) ||
      has(evaluation.protocols(), SAME_TARGETS)) {
    Require(evaluation.stride() <= shortest, "evaluation.stride",
            absl::StrCat("at most the shortest of evaluation.lengths, ",
                         shortest, " (a piece counts its last targets)"),
            {"evaluation.lengths"});
  }
  const auto changed = std::ranges::find_if(
      evaluation.extensions(), [](int value) { return value != UNCHANGED; });
  if (changed != evaluation.extensions().end()) {
    Require(FactsOf(config_.model().position()).rotates,
            "evaluation.extensions",
            absl::StrCat("[UNCHANGED], because ",
                         PositionMethod_Name(config_.model().position()),
                         " has no angles to change (XPOS and ROPE have)"));
  }
}

void Resolution::CheckBlockwiseEvaluation() {
  const EvaluationConfig& evaluation = config_.evaluation();
  const int64_t training_length = config_.model().training_length();
  Require(evaluation.block_size() > 0, "model.training_length",
          "even, because a block of BCA is half of it (or set "
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
          "the prefix of a token data set, as lextra prepare writes it");
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
  const double skip_z_score = config_.optimizer().skip_z_score();
  Require(skip_z_score == 0 || skip_z_score >= 1, "optimizer.skip_z_score",
          "0 (no step is skipped for it) or at least 1 (smaller ones would "
          "skip ordinary steps)");
  if (config_.parallel().sequence_regions()) {
    RequireMultiple("model.training_length", "parallel.tensor",
                    "or set parallel.sequence_regions=false");
  }
  ResolveBatch();
}

void Resolution::ResolveBatch() {
  DataConfig& data = *config_.mutable_data();
  const int32_t copies = config_.parallel().data();
  RequireMultiple("data.global_batch", "parallel.data",
                  "every copy of the model takes as many samples");
  if (data.global_batch() % copies != 0) return;
  const int32_t per_copy = data.global_batch() / copies;
  if (data.micro_batch() == 0) data.set_micro_batch(per_copy);
  Require(per_copy % data.micro_batch() == 0, "data.micro_batch",
          absl::StrCat("a divisor of the ", per_copy,
                       " samples of a rank (data.global_batch / "
                       "parallel.data)"),
          {"data.global_batch", "parallel.data"});
}

}  // namespace

absl::Status Resolve(RunConfig* config, Purpose purpose, int world_size) {
  RunConfig resolved = *config;
  LEXTRA_RETURN_IF_ERROR(Resolution(&resolved, purpose, world_size).Run());
  *config = std::move(resolved);
  return absl::OkStatus();
}

}  // namespace lextra

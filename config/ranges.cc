#include "config/ranges.h"

#include "absl/strings/str_cat.h"

namespace lextra {
namespace {

// Upper bounds of sizes only keep their products within 64 bits; no machine
// reaches them.
constexpr Range kAlways[] = {
    {"model.num_layers", 1, 1 << 16},
    {"model.hidden_size", 1, 1 << 20},
    {"model.num_heads", 1, 1 << 16},
    {"model.num_kv_heads", 0, 1 << 16},
    {"model.head_dim", 0, 1 << 16},
    {"model.ffn_hidden_size", 0, 1 << 24},
    {"model.vocab_size", 0, 1 << 30},
    {"model.pad_vocab_to_multiple_of", 1, 1 << 20},
    {"model.training_length", 1, 1 << 24},
    {"model.norm_epsilon", 0, kNoBound, true},
    {"model.embedding_scale", 0, kNoBound, true},
    {"model.xpos_gamma", 0, kNoBound, true},
    {"model.xpos_scale_base", 0, kNoBound, true},
    {"model.rotary_base", 0, kNoBound, true},
    {"model.init_std", 0, kNoBound, true},
    {"parallel.data", 0},
    {"parallel.context", 1},
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
    {"data.global_batch_size", 1, 1 << 24},
    {"data.micro_batch_size", 0, 1 << 24},
    {"optimizer.beta1", 0, 1, true},
    {"optimizer.beta2", 0, 1, true},
    {"optimizer.epsilon", 0, kNoBound, true},
    {"optimizer.weight_decay", 0},
    {"optimizer.max_grad_norm", 0},
    {"optimizer.max_consecutive_skips", 0},
    {"optimizer.spike_z_threshold", 0},
    {"schedule.num_steps", 1},
    {"schedule.learning_rate", 0},
    {"schedule.min_learning_rate", 0},
    {"schedule.warmup_steps", 0},
    {"parallel.replica_check_interval_steps", 0},
    {"parallel.zero_stage", 0, 1},
    {"checkpoint.interval_steps", 0},
    {"checkpoint.keep_last", 2},
    {"checkpoint.keep_every", 0},
    {"checkpoint.interval_seconds", 0},
    {"evaluation.validation_interval_steps", 0},
    {"evaluation.validation_samples", 1},
    {"evaluation.validation_tokens", 0},
    {"logging.interval_steps", 1},
};

}  // namespace

bool Range::Holds(double value) const {
  if (open) {
    return value > min && (max == kNoBound ? value <= max : value < max);
  }
  return value >= min && value <= max;
}

std::string Range::Text() const {
  const auto words = [&](const char* above, const char* below) {
    return max == kNoBound ? absl::StrCat(above, min)
                           : absl::StrCat(above, min, below, max);
  };
  if (open) return words("more than ", " and less than ");
  return words("at least ", " and at most ");
}

std::span<const Range> Ranges() { return kAlways; }

std::span<const Range> TrainingRanges() { return kInTraining; }

}  // namespace lextra

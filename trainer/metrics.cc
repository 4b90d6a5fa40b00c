#include "trainer/metrics.h"

#include <sys/resource.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/io/files.h"
#include "base/json_number.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/number_text.h"
#include "model/parameter_shapes.h"
#include "ops/cuda_kernel.h"
#include "trainer/metrics_file.h"

namespace lextra {
namespace {

double PeakMemoryGib() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / (1 << 20);
}

std::string Duration(double seconds) {
  const int64_t whole = std::llround(seconds);
  if (whole >= 3600) {
    return absl::StrFormat("%dh%02dm", whole / 3600, whole / 60 % 60);
  }
  return absl::StrFormat("%dm%02ds", whole / 60, whole % 60);
}

}  // namespace

double TrainingFlopsPerToken(const ModelConfig& model) {
  const double attention_width =
      static_cast<double>(model.num_heads()) * model.head_dim();
  return 6.0 * NumParameters(model) +
         6.0 * model.num_layers() * attention_width * model.training_length();
}

absl::StatusOr<Metrics> Metrics::Open(const RunConfig& config,
                                      const std::string& run_folder,
                                      int64_t first_step) {
  Metrics metrics;
  metrics.config_ = config;
  metrics.path_ = run_folder + "/metrics.jsonl";
  LEXTRA_RETURN_IF_ERROR(KeepLinesUpTo(metrics.path_, first_step));
  return metrics;
}

void Metrics::AppendLine(const std::string& line) {
  const absl::Status status = AppendToFile(path_, line);
  if (!status.ok()) {
    LogWarning(
        "failed to append to metrics.jsonl, continuing without this line: %s",
        status.message());
  }
}

void Metrics::Record(const Step& step) {
  seconds_ += step.seconds;
  ++num_steps_;
  const int64_t num_steps = config_.schedule().num_steps();
  if (step.step != 1 && step.step != num_steps &&
      step.step % config_.logging().interval_steps() != 0) {
    return;
  }
  const double seconds = std::exchange(seconds_, 0) /
                         static_cast<double>(std::exchange(num_steps_, 0));
  const double tokens_per_second =
      static_cast<double>(config_.data().global_batch_size()) *
      config_.model().training_length() / seconds;
  const double flops =
      tokens_per_second * TrainingFlopsPerToken(config_.model());
  const bool on_gpu = config_.parallel().device() == CUDA;
  const GpuMemory gpu = on_gpu ? LoadedCudaApi().peak_memory() : GpuMemory();
  const double memory_gib = on_gpu ? InGib(gpu.held_bytes) : PeakMemoryGib();
  LogInfo(
      "step %6d/%d | %8.2fM tok | loss %7.4f | norm %8.4f | lr %.2e | %8.2f ms "
      "| %7.0f tok/s | %7.1f GFLOP/s | mem %.2f GiB | eta %s",
      step.step, num_steps, step.tokens_seen * 1e-6, WithoutNanSign(step.loss),
      WithoutNanSign(step.gradient_norm), step.learning_rate, seconds * 1e3,
      tokens_per_second, flops * 1e-9, memory_gib,
      Duration(seconds * static_cast<double>(num_steps - step.step)));
  nlohmann::ordered_json line;
  line["step"] = step.step;
  line["tokens"] = step.tokens_seen;
  line["loss"] = JsonNumber(step.loss);
  line["lr"] = step.learning_rate;
  line["grad_norm"] = JsonNumber(step.gradient_norm);
  line["tok_s"] = tokens_per_second;
  line["flop_s"] = flops;
  line["mem_gib"] = PeakMemoryGib();
  if (on_gpu) {
    line["gpu_gib"] = memory_gib;
    line["gpu_tensors_gib"] = InGib(gpu.tensor_bytes);
  }
  line["step_s"] = seconds;
  line["skipped"] = step.skipped_steps;
  line["batch_hash"] = step.batch_hash;
  line["time"] = UtcTime();
  AppendLine(line.dump() + "\n");
}

void Metrics::RecordValidation(int64_t step, const ValidationLoss& validation) {
  const std::optional<double>& error = validation.standard_error;
  const double loss = WithoutNanSign(validation.loss);
  LogInfo(
      "step %6d/%d | validation loss %7.4f | perplexity %.3f | std. error %s "
      "| %d of %d samples, %d of %d documents",
      step, config_.schedule().num_steps(), loss, std::exp(loss),
      error ? FixedPoint(4, *error) : "-", validation.samples,
      validation.samples_in_set, validation.documents,
      validation.documents_in_set);
  nlohmann::ordered_json line;
  line["step"] = step;
  line["validation_loss"] = JsonNumber(validation.loss);
  if (error) line["validation_standard_error"] = JsonNumber(*error);
  line["validation_samples"] = validation.samples;
  line["validation_documents"] = validation.documents;
  line["time"] = UtcTime();
  AppendLine(line.dump() + "\n");
}

void Metrics::RecordExtrapolation(int64_t step,
                                  const std::map<int64_t, double>& nll_at) {
  std::string text;
  nlohmann::ordered_json line;
  line["step"] = step;
  for (const auto& [length, nll] : nll_at) {
    absl::StrAppendFormat(&text, "%s%.4f at %d", text.empty() ? "" : ", ", nll,
                          length);
    line["bca_nll"][std::to_string(length)] = JsonNumber(nll);
  }
  line["time"] = UtcTime();
  LogInfo("step %6d/%d | NLL with BCA %s", step, config_.schedule().num_steps(),
          text);
  AppendLine(line.dump() + "\n");
}

}  // namespace lextra

#include "trainer/profile/step_profile.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"

namespace lextra {
namespace {

constexpr size_t kOther = 0;  // of the phases

template <size_t n>
bool IsOneOf(std::string_view name, const std::string_view (&names)[n]) {
  return std::find(names, names + n, name) != names + n;
}

ScopePhase PhaseOfOperator(std::string_view name) {
  static constexpr std::string_view kProducts[] = {
      "mm", "addmm", "addmm_", "bmm", "baddbmm", "baddbmm_", "addmv", "dot"};
  static constexpr std::string_view kActivations[] = {
      "gelu", "gelu_", "gelu_backward", "silu", "silu_", "silu_backward"};
  static constexpr std::string_view kAllocations[] = {
      "empty", "empty_like", "empty_strided", "new_empty", "resize_"};
  static constexpr std::string_view kViews[] = {
      "_unsafe_view", "alias",   "as_strided", "chunk",     "detach",
      "expand",       "flatten", "narrow",     "permute",   "reshape",
      "select",       "slice",   "split",      "squeeze",   "t",
      "transpose",    "unbind",  "unflatten",  "unsqueeze", "view"};
  if (IsOneOf(name, kProducts)) return {"gemm"};
  if (IsOneOf(name, kActivations)) return {"activation"};
  if (IsOneOf(name, kAllocations)) return {"allocator"};
  if (IsOneOf(name, kViews)) return {"other", /*inherits=*/true};
  if (name.find("attention") != name.npos) return {"attention"};
  return {"elementwise", /*inherits=*/true};
}

std::string Microseconds(int64_t nanoseconds) {
  return absl::StrFormat("%d.%03d", nanoseconds / 1000, nanoseconds % 1000);
}

}  // namespace

ScopePhase PhaseOf(std::string_view name) {
  const size_t colon = name.find(':');
  const std::string_view phase = name.substr(0, colon);
  const std::string_view rest =
      colon == name.npos ? std::string_view() : name.substr(colon);
  if (rest.starts_with(": ")) return {phase};
  if (phase == "aten") return PhaseOfOperator(rest.substr(2));
  return {"other", /*inherits=*/true};
}

StepProfile::StepProfile()
    : StepProfile([] {
        return std::chrono::nanoseconds(
                   std::chrono::steady_clock::now().time_since_epoch())
            .count();
      }) {}

StepProfile::StepProfile(Clock clock) : clock_(std::move(clock)) {
  phases_.push_back({.name = "other"});
}

void StepProfile::BeginStep(uint64_t thread) {
  if (steps_begun_++ == kWarmUpSteps) {
    totals_ = Totals();
    for (Phase& phase : phases_) phase.self_ns = phase.calls = 0;
  }
  if (last_steps_.size() == kTracedSteps) last_steps_.pop_front();
  last_steps_.emplace_back();
  live_bytes_ = 0;
  usage_at_begin_ = CurrentUsage();
  Enter("step", thread);
}

void StepProfile::Enter(std::string_view name, uint64_t thread) {
  const size_t number = NameNumber(name);
  const size_t around = open_.empty() ? kOther : open_.back().phase;
  const bool inherits = names_[number].inherits && around != kOther;
  const size_t phase = inherits ? around : names_[number].phase;
  if (phase != around) ++phases_[phase].calls;
  open_.push_back(
      {.name = number, .phase = phase, .thread = thread, .begin_ns = clock_()});
}

void StepProfile::Leave() {
  if (open_.size() > 1) Close();
}

void StepProfile::Close() {
  Scope scope = open_.back();
  open_.pop_back();
  scope.duration_ns = clock_() - scope.begin_ns;
  phases_[scope.phase].self_ns += scope.duration_ns - scope.nested_ns;
  if (!open_.empty()) open_.back().nested_ns += scope.duration_ns;
  std::vector<Scope>& traced = last_steps_.back();
  if (traced.size() < kTracedScopes || open_.empty()) traced.push_back(scope);
}

void StepProfile::EndStep() {
  while (!open_.empty()) Close();
  const Usage now = CurrentUsage();
  Usage& sum = totals_.usage;
  sum.page_faults += now.page_faults - usage_at_begin_.page_faults;
  sum.user_us += now.user_us - usage_at_begin_.user_us;
  sum.system_us += now.system_us - usage_at_begin_.system_us;
  totals_.wall_ns += last_steps_.back().back().duration_ns;
  ++totals_.steps;
}

void StepProfile::Allocate(int64_t bytes) {
  live_bytes_ += bytes;
  if (bytes <= 0) return;
  ++totals_.allocations;
  totals_.allocated_bytes += bytes;
  totals_.peak_bytes = std::max(totals_.peak_bytes, live_bytes_);
}

void StepProfile::AddGpuWaits(double milliseconds) {
  totals_.gpu_waits_ms += milliseconds;
}

double StepProfile::StepMilliseconds() const {
  return PerStep(totals_.wall_ns) * 1e-6;
}

double StepProfile::Milliseconds(std::string_view phase) const {
  const Phase* found = Find(phase);
  return found == nullptr ? 0 : PerStep(found->self_ns) * 1e-6;
}

double StepProfile::Calls(std::string_view phase) const {
  const Phase* found = Find(phase);
  return found == nullptr ? 0 : PerStep(found->calls);
}

std::vector<std::string> StepProfile::Table() const {
  std::vector<Phase> sorted = phases_;
  std::stable_sort(
      sorted.begin() + 1, sorted.end(),
      [](const Phase& a, const Phase& b) { return a.self_ns > b.self_ns; });
  std::rotate(sorted.begin(), sorted.begin() + 1, sorted.end());
  std::vector<std::string> lines = {
      absl::StrFormat("profile: self time by phase, mean of %d steps%s",
                      totals_.steps,
                      steps_begun_ > kWarmUpSteps ? " after warmup" : ""),
      absl::StrFormat("  %-14s %10s %9s %12s", "phase", "ms/step", "share",
                      "calls/step")};
  for (const Phase& phase : sorted) lines.push_back(PhaseLine(phase));
  lines.push_back(absl::StrFormat("  %-14s %10.3f %7.1f %%", "all",
                                  StepMilliseconds(), 100.0));
  if (totals_.gpu_waits_ms > 0) {
    lines.push_back(absl::StrFormat(
        "  exposed communication: %.3f ms/step, %.1f %%",
        totals_.gpu_waits_ms / static_cast<double>(totals_.steps),
        100e6 * totals_.gpu_waits_ms / static_cast<double>(totals_.wall_ns)));
  }
  const Usage& usage = totals_.usage;
  const int64_t cpu_us = std::max<int64_t>(usage.user_us + usage.system_us, 1);
  lines.push_back(absl::StrFormat(
      "  tensors: %.1f allocations per step, %.2f MB, peak %.2f MB",
      PerStep(totals_.allocations), PerStep(totals_.allocated_bytes) * 1e-6,
      totals_.peak_bytes * 1e-6));
  lines.push_back(absl::StrFormat(
      "  kernel: %.1f page faults per step, %.1f %% of CPU time",
      PerStep(usage.page_faults), 100.0 * usage.system_us / cpu_us));
  return lines;
}

std::string StepProfile::PhaseLine(const Phase& phase) const {
  const double share =
      totals_.wall_ns == 0 ? 0 : 100.0 * phase.self_ns / totals_.wall_ns;
  std::string line = absl::StrFormat("  %-14s %10.3f %7.1f %%", phase.name,
                                     PerStep(phase.self_ns) * 1e-6, share);
  if (phase.calls > 0) {
    absl::StrAppendFormat(&line, " %12.1f", PerStep(phase.calls));
  }
  return line;
}

std::string StepProfile::Trace(int rank) const {
  std::vector<std::string> quoted;
  for (const Name& name : names_) {
    quoted.push_back(nlohmann::json(name.text).dump());
  }
  std::string trace = absl::StrFormat(
      "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
      "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,"
      "\"args\":{\"name\":\"rank %d\"}}",
      rank, rank);
  for (const std::vector<Scope>& step : last_steps_) {
    for (const Scope& scope : step) {
      absl::StrAppendFormat(
          &trace,
          ",\n{\"name\":%s,\"cat\":\"%s\",\"ph\":\"X\",\"ts\":%s,\"dur\":%s,"
          "\"pid\":%d,\"tid\":%d}",
          quoted[scope.name], phases_[scope.phase].name,
          Microseconds(scope.begin_ns), Microseconds(scope.duration_ns), rank,
          scope.thread);
    }
  }
  trace += "\n]}\n";
  return trace;
}

StepProfile::Usage StepProfile::CurrentUsage() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto microseconds = [](const timeval& time) {
    return int64_t{time.tv_sec} * 1'000'000 + time.tv_usec;
  };
  return {.page_faults = usage.ru_minflt,
          .user_us = microseconds(usage.ru_utime),
          .system_us = microseconds(usage.ru_stime)};
}

size_t StepProfile::PhaseNumber(std::string_view phase) {
  const Phase* found = Find(phase);
  if (found != nullptr) return found - phases_.data();
  phases_.push_back({.name = std::string(phase)});
  return phases_.size() - 1;
}

size_t StepProfile::NameNumber(std::string_view name) {
  const auto known = name_numbers_.find(name);
  if (known != name_numbers_.end()) return known->second;
  const ScopePhase phase = PhaseOf(name);
  names_.push_back({.text = std::string(name),
                    .phase = PhaseNumber(phase.phase),
                    .inherits = phase.inherits});
  name_numbers_.emplace(names_.back().text, names_.size() - 1);
  return names_.size() - 1;
}

const StepProfile::Phase* StepProfile::Find(std::string_view phase) const {
  for (const Phase& known : phases_) {
    if (known.name == phase) return &known;
  }
  return nullptr;
}

double StepProfile::PerStep(int64_t total) const {
  return totals_.steps == 0
             ? 0
             : static_cast<double>(total) / static_cast<double>(totals_.steps);
}

}  // namespace lextra

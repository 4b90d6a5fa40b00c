// Where the time of training steps goes. Scopes nest; each adds its self time
// (excluding nested scopes) to one phase, and what no scope claims is the phase
// `other`, so the phases add up to the steps' wall time. Free of LibTorch:
// step_recorder.h feeds it.
#ifndef LEXTRA_TRAINER_PROFILE_STEP_PROFILE_H_
#define LEXTRA_TRAINER_PROFILE_STEP_PROFILE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lextra {

// The phase of a scope, by its name. Our own are named "phase: name".
// LibTorch's matrix products are `gemm`, tensor creation `allocator`,
// activations `activation`, views and autograd nodes `other`, the rest
// `elementwise`.
struct ScopePhase {
  std::string_view phase;  // part of `name` or of static storage
  // True: only if every enclosing scope has the phase `other`.
  bool inherits = false;
};
ScopePhase PhaseOf(std::string_view name);

class StepProfile {
 public:
  // Excluded from the averages of runs that have more steps.
  static constexpr int64_t kWarmUpSteps = 2;
  // A trace holds the last steps, with this many scopes of each.
  static constexpr size_t kTracedSteps = 3;
  static constexpr size_t kTracedScopes = 200'000;

  using Clock = std::function<int64_t()>;  // nanoseconds

  StepProfile();  // by the steady clock
  explicit StepProfile(Clock clock);
  StepProfile(const StepProfile&) = delete;
  StepProfile& operator=(const StepProfile&) = delete;

  // Between the two, scopes are entered and left like brackets, by one thread
  // at a time. A scope entered before the step is not counted.
  void BeginStep(uint64_t thread = 0);
  void Enter(std::string_view name, uint64_t thread = 0);
  void Leave();
  void EndStep();  // closes scopes that are still open

  // A tensor's memory: bytes allocated, or freed if negative.
  void Allocate(int64_t bytes);

  // Exposed communication of this step, in milliseconds.
  void AddGpuWaits(double milliseconds);

  // Means over the measured steps; 0 if there are none.
  int64_t num_steps() const { return totals_.steps; }
  double StepMilliseconds() const;
  double Milliseconds(std::string_view phase) const;
  double Calls(std::string_view phase) const;  // entered from another phase
  // Peak bytes of tensors allocated in a step.
  int64_t peak_bytes() const { return totals_.peak_bytes; }

  // Phases by share, then allocations and page faults.
  std::vector<std::string> Table() const;

  // The last steps in the Trace Event Format (JSON), as chrome://tracing and
  // Perfetto read it: complete events, microseconds of the steady clock, which
  // the ranks of a host share; the process is the rank, the category the phase.
  std::string Trace(int rank) const;

 private:
  struct Name {
    std::string text;
    size_t phase = 0;
    bool inherits = false;
  };
  struct Phase {
    std::string name;
    int64_t self_ns = 0;
    int64_t calls = 0;
  };
  struct Scope {
    size_t name = 0;
    size_t phase = 0;
    uint64_t thread = 0;
    int64_t begin_ns = 0;
    int64_t duration_ns = 0;
    int64_t nested_ns = 0;
  };
  struct Usage {
    int64_t page_faults = 0;
    int64_t user_us = 0;
    int64_t system_us = 0;
  };
  struct Totals {
    int64_t steps = 0;
    int64_t wall_ns = 0;
    int64_t allocations = 0;
    int64_t allocated_bytes = 0;
    int64_t peak_bytes = 0;
    double gpu_waits_ms = 0;
    Usage usage;
  };

  static Usage CurrentUsage();
  void Close();
  size_t PhaseNumber(std::string_view phase);
  size_t NameNumber(std::string_view name);
  const Phase* Find(std::string_view phase) const;
  double PerStep(int64_t total) const;
  std::string PhaseLine(const Phase& phase) const;

  Clock clock_;
  std::vector<Phase> phases_;  // `other` first
  std::deque<Name> names_;     // at stable addresses, for the map
  std::unordered_map<std::string_view, size_t> name_numbers_;
  std::vector<Scope> open_;                    // the step, and what is in it
  std::deque<std::vector<Scope>> last_steps_;  // closed scopes
  int64_t steps_begun_ = 0;
  int64_t live_bytes_ = 0;  // allocated by this step
  Usage usage_at_begin_;
  Totals totals_;
};

}  // namespace lextra

#endif  // LEXTRA_TRAINER_PROFILE_STEP_PROFILE_H_

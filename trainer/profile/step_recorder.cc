#include "trainer/profile/step_recorder.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <c10/core/Allocator.h>

#include <mutex>

#include "absl/strings/str_cat.h"
#include "base/io/files.h"
#include "base/log.h"
#include "parallel/agreement.h"

namespace lextra {

// LibTorch's callbacks are plain functions: they find the recorder as the
// thread's profiler, which backward passes propagate to their threads.
class StepRecorder::Recorder : public c10::MemoryReportingInfoBase {
 public:
  explicit Recorder(StepProfile& profile) : profile_(profile) {}

  static std::unique_ptr<at::ObserverContext> Enter(
      const at::RecordFunction& scope) {
    Recorder& recorder = OfThisThread();
    const std::lock_guard lock(recorder.mutex_);
    recorder.profile_.Enter(scope.name(), scope.threadId());
    return nullptr;
  }

  static void Leave(const at::RecordFunction&, at::ObserverContext*) {
    Recorder& recorder = OfThisThread();
    const std::lock_guard lock(recorder.mutex_);
    recorder.profile_.Leave();
  }

  void reportMemoryUsage(void*, int64_t bytes, size_t, size_t,
                         c10::Device) override {
    const std::lock_guard lock(mutex_);
    profile_.Allocate(bytes);
  }

  bool memoryProfilingEnabled() const override { return true; }

  StepProfile& profile() { return profile_; }

 private:
  static Recorder& OfThisThread() {
    return *static_cast<Recorder*>(
        c10::ThreadLocalDebugInfo::get(c10::DebugInfoKind::PROFILER_STATE));
  }

  std::mutex mutex_;
  StepProfile& profile_;
};

StepRecorder::StepRecorder(StepProfile& profile)
    : recorder_(std::make_shared<Recorder>(profile)),
      recorder_is_known_(c10::DebugInfoKind::PROFILER_STATE, recorder_) {
  profile.BeginStep(at::RecordFunction::currentThreadId());
  callbacks_ = at::addThreadLocalCallback(
      at::RecordFunctionCallback(Recorder::Enter, Recorder::Leave));
}

StepRecorder::~StepRecorder() {
  at::removeCallback(callbacks_);
  recorder_->profile().EndStep();
}

void ReportProfile(const StepProfile& profile, const std::string& run_folder,
                   Communicator& world) {
  for (const std::string& line : profile.Table()) LogLine(line);
  const at::Tensor mine = at::empty({1}, at::kDouble);
  mine.fill_(profile.StepMilliseconds() -
             profile.Milliseconds("communication"));
  const at::Tensor all = at::empty({world.size()}, at::kDouble);
  world.AllGather(all, mine);
  if (world.size() > 1) {
    const int64_t longest = all.argmax().item<int64_t>();
    const int64_t shortest = all.argmin().item<int64_t>();
    LogInfo(
        "  time per step excluding communication: max %.3f ms (rank %d), min "
        "%.3f ms (rank %d)",
        all[longest].item<double>(), longest, all[shortest].item<double>(),
        shortest);
  }
  const auto path = [&](const auto& rank) {
    return absl::StrCat(run_folder, "/profile-rank", rank, ".json");
  };
  const absl::Status written = AgreeOnStatus(
      world, AtomicWrite(path(world.rank()), profile.Trace(world.rank())));
  if (!written.ok()) {
    LogWarning("failed to write the profile trace: %s", written.message());
    return;
  }
  LogInfo("  trace of the last steps, for chrome://tracing or Perfetto: %s",
          path(world.size() > 1 ? "<R>" : "0"));
}

}  // namespace lextra

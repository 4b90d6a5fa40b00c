// Feeds a StepProfile with the LibTorch scopes and our own (RECORD_USER_SCOPE)
// of this thread and of the threads that run a backward pass for it.
#ifndef LEXTRA_TRAINER_PROFILE_STEP_RECORDER_H_
#define LEXTRA_TRAINER_PROFILE_STEP_RECORDER_H_

#include <c10/util/ThreadLocalDebugInfo.h>

#include <cstdint>
#include <memory>
#include <string>

#include "parallel/communicator.h"
#include "trainer/profile/step_profile.h"

namespace lextra {

// One step of the profile, for its lifetime. Created and destroyed by one
// thread; nothing is recorded outside of it.
class StepRecorder {
 public:
  explicit StepRecorder(StepProfile& profile);
  ~StepRecorder();
  StepRecorder(const StepRecorder&) = delete;
  StepRecorder& operator=(const StepRecorder&) = delete;

 private:
  class Recorder;

  std::shared_ptr<Recorder> recorder_;
  c10::DebugInfoGuard recorder_is_known_;
  uint64_t callbacks_;
};

// Logs rank 0's table and the slowest and fastest rank, and writes every rank's
// trace, profile-rank<R>.json, into the run folder; failure to write is a
// warning. Collective.
void ReportProfile(const StepProfile& profile, const std::string& run_folder,
                   Communicator& world);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_PROFILE_STEP_RECORDER_H_

// Feeds a StepProfile with what LibTorch and our own scopes (RECORD_USER_SCOPE)
// tell of this thread, and of the threads that run a backward pass for it.
#ifndef LEXTRA_TRAINER_PROFILE_STEP_RECORDER_H_
#define LEXTRA_TRAINER_PROFILE_STEP_RECORDER_H_

#include <c10/util/ThreadLocalDebugInfo.h>

#include <cstdint>
#include <memory>
#include <string>

#include "parallel/communicator.h"
#include "trainer/profile/step_profile.h"

namespace lextra {

// One step of the profile, as long as it lives. Made and ended by one thread;
// nothing is recorded outside of it.
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

// Logs rank 0's table and the ranks that worked longest and shortest, and
// writes every rank's trace, profile-rank<R>.json, into the run folder; a
// warning where that is not possible. Collective.
void ReportProfile(const StepProfile& profile, const std::string& run_folder,
                   Communicator& world);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_PROFILE_STEP_RECORDER_H_

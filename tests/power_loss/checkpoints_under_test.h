// What the power loss rig asks of checkpoints: the only place that knows how
// they are written and verified.
#ifndef LEXTRA_TESTS_POWER_LOSS_CHECKPOINTS_UNDER_TEST_H_
#define LEXTRA_TESTS_POWER_LOSS_CHECKPOINTS_UNDER_TEST_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace lextra::power_loss {

// Checkpoints that stay.
inline constexpr int kNumKept = 2;

// Saves a checkpoint of 1 MiB whose contents follow from the step, as two
// ranks would, up to the commit. True is the promise that it is durable.
bool SaveOnce(const std::string& folder, int64_t step);

// What follows a commit: names the step in RUN/latest and reads it back; then
// it is in `verified`.
bool ReadBack(const std::string& folder, int64_t step,
              std::set<int64_t>* verified);

// Deletes what is older than the newest kNumKept of `verified`.
bool DeleteOld(const std::string& folder, const std::set<int64_t>& verified);

// Steps in the folder that look committed, oldest first.
std::vector<int64_t> CommittedSteps(const std::string& folder);

// What a job does first when it starts again: removes what dead saves and
// deletions left.
bool RemoveRests(const std::string& folder);

// Reads all of a committed step: "" if it is what SaveOnce was given, otherwise
// what is wrong.
std::string Verify(const std::string& folder, int64_t step);

}  // namespace lextra::power_loss

#endif  // LEXTRA_TESTS_POWER_LOSS_CHECKPOINTS_UNDER_TEST_H_

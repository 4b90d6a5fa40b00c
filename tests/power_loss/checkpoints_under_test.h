// What the power loss rig asks of checkpoints: the only place that knows how
// they are written and verified.
#ifndef LEXTRA_TESTS_POWER_LOSS_CHECKPOINTS_UNDER_TEST_H_
#define LEXTRA_TESTS_POWER_LOSS_CHECKPOINTS_UNDER_TEST_H_

#include <cstdint>
#include <string>
#include <vector>

namespace lextra::power_loss {

// Saves a checkpoint of about 1 MiB whose contents follow from the step. True
// is the promise that it is durable.
bool SaveOnce(const std::string& folder, int64_t step);

// Steps in the folder that look committed, oldest first.
std::vector<int64_t> CommittedSteps(const std::string& folder);

// Reads all of a committed step: "" if it is what SaveOnce was given, otherwise
// what is wrong.
std::string Verify(const std::string& folder, int64_t step);

// Removes a committed step.
bool Delete(const std::string& folder, int64_t step);

}  // namespace lextra::power_loss

#endif  // LEXTRA_TESTS_POWER_LOSS_CHECKPOINTS_UNDER_TEST_H_

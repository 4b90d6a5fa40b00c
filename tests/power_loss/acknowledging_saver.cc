// Saves checkpoint after checkpoint and keeps a journal of what it promised, in
// a file that no power loss touches:
//
//   step N       step N is durable (written after the save reported success)
//   deleting N   step N may be gone (written before its deletion begins)
//
//   acknowledging_saver FOLDER JOURNAL
//
// Runs until it is killed; a save or deletion that fails ends it with status 1.
// After each promise it waits a random 0 to 20 ms, as if it trained.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/power_loss/checkpoints_under_test.h"

namespace lextra::power_loss {
namespace {

// One write each, so that a reader never sees part of a line.
bool Append(int journal, const std::string& event, int64_t step) {
  const std::string line = event + " " + std::to_string(step) + "\n";
  return write(journal, line.data(), line.size()) ==
         static_cast<ssize_t>(line.size());
}

// Announces what may be gone: by this program's own rule, so that a deletion of
// more counts as a loss.
bool AnnounceDeletions(const std::string& folder, int journal) {
  const std::vector<int64_t> steps = CommittedSteps(folder);
  for (size_t i = 0; i + kNumKept < steps.size(); ++i) {
    if (!Append(journal, "deleting", steps[i])) return false;
  }
  return true;
}

int Run(const std::string& folder, const char* journal_path) {
  const int journal =
      open(journal_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  std::mt19937_64 random(std::random_device{}());
  std::uniform_int_distribution<int> pause_microseconds(0, 20000);
  std::set<int64_t> verified;
  for (int64_t step = 1;; ++step) {
    bool is_good = SaveOnce(folder, step) && Append(journal, "step", step);
    // Before all that follows, whose fsyncs may help an unfinished save.
    std::this_thread::sleep_for(
        std::chrono::microseconds(pause_microseconds(random)));
    is_good = is_good && ReadBack(folder, step, &verified) &&
              AnnounceDeletions(folder, journal) && DeleteOld(folder, verified);
    if (!is_good) {
      std::cerr << "acknowledging_saver: step " << step << " failed\n";
      return 1;
    }
  }
}

}  // namespace
}  // namespace lextra::power_loss

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: acknowledging_saver FOLDER JOURNAL\n";
    return 2;
  }
  return lextra::power_loss::Run(argv[1], argv[2]);
}

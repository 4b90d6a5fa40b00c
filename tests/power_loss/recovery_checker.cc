// Holds what a power loss left against what was promised before it.
//
//   recovery_checker FOLDER JOURNAL JOURNAL_BYTES
//
// FOLDER is on the remounted image; the first JOURNAL_BYTES of JOURNAL (see
// acknowledging_saver.cc) were written before the loss. Prints one line
//
//   NEWEST LOST CORRUPT NEXT
//
// the newest acknowledged step (0: none), how many acknowledged steps (but for
// those that were being deleted) are not there and valid, how many steps look
// committed but are damaged, and 1 if what dead saves left can't be removed or
// a further save doesn't work, otherwise 0. On standard error a line for each;
// the status is 0 if all three are 0.
#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>

#include "tests/power_loss/checkpoints_under_test.h"

namespace lextra::power_loss {
namespace {

struct Promises {
  int64_t newest = 0;
  std::set<int64_t> kept;  // acknowledged, and no deletion begun
};

Promises ReadPromises(const char* journal, size_t num_bytes) {
  std::ifstream file(journal, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  std::istringstream lines(text.substr(0, num_bytes));
  Promises promises;
  std::string event;
  int64_t step;
  while (lines >> event >> step) {
    if (event == "deleting") {
      promises.kept.erase(step);
    } else {
      promises.kept.insert(step);
      promises.newest = step;
    }
  }
  return promises;
}

int Check(const std::string& folder, const Promises& promises) {
  int num_corrupt = 0;
  std::set<int64_t> lost = promises.kept;
  int64_t newest_seen = promises.newest;
  const bool is_clean = RemoveRests(folder);
  for (const int64_t step : CommittedSteps(folder)) {
    newest_seen = std::max(newest_seen, step);
    const std::string damage = Verify(folder, step);
    if (damage.empty()) {
      lost.erase(step);
    } else {
      ++num_corrupt;
      std::cerr << "step " << step << " looks committed: " << damage << "\n";
    }
  }
  for (const int64_t step : lost) {
    std::cerr << "step " << step << " was acknowledged and is lost\n";
  }
  const bool goes_on = is_clean && SaveOnce(folder, newest_seen + 1) &&
                       Verify(folder, newest_seen + 1).empty();
  if (!goes_on) std::cerr << "step " << newest_seen + 1 << " can't be saved\n";
  std::cout << promises.newest << " " << lost.size() << " " << num_corrupt
            << " " << !goes_on << "\n";
  return lost.empty() && num_corrupt == 0 && goes_on ? 0 : 1;
}

}  // namespace
}  // namespace lextra::power_loss

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: recovery_checker FOLDER JOURNAL JOURNAL_BYTES\n";
    return 2;
  }
  return lextra::power_loss::Check(
      argv[1], lextra::power_loss::ReadPromises(argv[2], std::stoull(argv[3])));
}

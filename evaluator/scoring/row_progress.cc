#include "evaluator/scoring/row_progress.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/log.h"

namespace lextra {
namespace {

constexpr double kSecondsBetweenLines = 30;
constexpr double kSecondsBetweenDrawings = 0.2;

}  // namespace

RowProgress::RowProgress(std::string name, int64_t total, int64_t mine)
    : name_(std::move(name)),
      total_(total),
      mine_(mine),
      on_terminal_(ProgressIsWelcome()) {
  next_seconds_ = on_terminal_ ? kSecondsBetweenDrawings : kSecondsBetweenLines;
}

RowProgress::~RowProgress() {
  if (drawn_) std::fputs("\r\033[K", stderr);
}

void RowProgress::Add(int64_t num_targets) {
  done_ = std::min(mine_, done_ + num_targets);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_)
          .count();
  if (seconds < next_seconds_ || done_ == 0) return;
  next_seconds_ =
      seconds + (on_terminal_ ? kSecondsBetweenDrawings : kSecondsBetweenLines);
  const double share = static_cast<double>(done_) / mine_;
  const std::string line =
      absl::StrFormat("%s: %3.0f%% of %d tokens, %.0f tokens/s, %.0f s left",
                      name_, 100 * share, total_, share * total_ / seconds,
                      seconds * (1 - share) / share);
  if (!on_terminal_) return LogLine(line);
  std::fprintf(stderr, "\r%s\033[K", line.c_str());
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace lextra

#include "base/io/mapped_range.h"

#include <signal.h>
#include <sys/stat.h>

#include <atomic>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/failure.h"
#include "base/io/system_calls.h"

namespace lextra {
namespace {

constexpr int kMostRanges = 256;

// Without locks, because a signal handler reads it.
std::atomic<const MappedRange*> ranges[kMostRanges];

struct sigaction previous_action;

const MappedRange* RangeOf(const void* address) {
  for (const std::atomic<const MappedRange*>& slot : ranges) {
    const MappedRange* range = slot.load(std::memory_order_acquire);
    if (range != nullptr && range->Holds(address)) return range;
  }
  return nullptr;
}

[[noreturn]] void EndJob(const MappedRange& range) {
  const std::string problem = range.Problem();
  if (!problem.empty()) AbortAllRanks(ExitCode::kInput, problem);
  AbortAllRanks(
      ExitCode::kStorage,
      absl::StrFormat("%s: failed to read a page of the mapped file (SIGBUS): "
                      "its disk or file system is failing",
                      range.path()));
}

// The fault is in one of our instructions that reads a mapping, so this thread
// holds no lock of the allocator, the log or MPI, and the job may be ended as
// elsewhere.
void OnBusError(int signal, siginfo_t* info, void* /*context*/) {
  if (const MappedRange* range = RangeOf(info->si_addr)) EndJob(*range);
  // The instruction is retried and faults again, as without this handler.
  sigaction(signal, &previous_action, nullptr);
}

}  // namespace

MappedRange::MappedRange(const std::byte* begin, int64_t size, std::string path,
                         int descriptor)
    : begin_(begin),
      size_(size),
      path_(std::move(path)),
      descriptor_(descriptor) {
  for (int slot = 0; slot < kMostRanges; ++slot) {
    const MappedRange* none = nullptr;
    if (ranges[slot].compare_exchange_strong(none, this)) {
      slot_ = slot;
      return;
    }
  }
}

MappedRange::~MappedRange() {
  if (slot_ >= 0) ranges[slot_].store(nullptr, std::memory_order_release);
  sys::Close(descriptor_);
}

std::string MappedRange::Problem() const {
  struct stat now;
  if (fstat(descriptor_, &now) != 0 || now.st_size >= size_) return "";
  return absl::StrFormat(
      "%s: truncated while in use: %d bytes, %d when it was opened; restore "
      "the file and rerun the same command",
      path_, now.st_size, size_);
}

void NameFilesOfBusErrors() {
  struct sigaction action = {};
  action.sa_sigaction = OnBusError;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, &previous_action);
}

}  // namespace lextra

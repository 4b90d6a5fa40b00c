#include "base/io/system_calls.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

#include "base/io/fault_rules.h"
#include "base/log.h"

namespace lextra::sys {
namespace {

// Separate, so that a call without rules costs its load and a branch. Changed
// under the injector's mutex.
enum class Mode { kUnread, kNoRules, kRules };
constinit std::atomic<Mode> mode = Mode::kUnread;

// All of it is guarded by the mutex.
struct Injector {
  std::mutex mutex;
  std::vector<FaultRule> from_environment;
  std::optional<std::vector<FaultRule>> from_test;
  int64_t num_hits = 0;
  // Of descriptors opened while there were rules.
  std::map<int, std::string> opened_paths;
};

Injector& TheInjector() {
  static Injector* injector = new Injector;
  return *injector;
}

// The caller holds the mutex (as in the next function).
void ReadEnvironmentOnce(Injector& injector) {
  if (mode != Mode::kUnread) return;
  const char* text = std::getenv("LEXTRA_FAULTS");
  injector.from_environment = ParseFaultRulesOrDie(text == nullptr ? "" : text);
  if (!injector.from_environment.empty()) {
    LogWarning("LEXTRA_FAULTS is set: injecting faults into system calls (%s)",
               text);
  }
  mode = injector.from_environment.empty() ? Mode::kNoRules : Mode::kRules;
}

bool HasRules() {
  const Mode now = mode.load(std::memory_order_relaxed);
  if (now == Mode::kNoRules) return false;
  if (now == Mode::kRules) return true;
  Injector& injector = TheInjector();
  const std::lock_guard lock(injector.mutex);
  ReadEnvironmentOnce(injector);
  return mode == Mode::kRules;
}

[[noreturn]] void Die() {
  kill(getpid(), SIGKILL);
  while (true) pause();
}

// Counts the call in every rule that matches; the first that hits decides.
NamedEffect Decide(Injector& injector, std::string_view operation,
                   std::string_view path, std::string_view other_path) {
  std::vector<FaultRule>& rules = injector.from_test.has_value()
                                      ? *injector.from_test
                                      : injector.from_environment;
  NamedEffect decision = {};
  for (FaultRule& rule : rules) {
    if (!rule.Matches(operation, path, other_path)) continue;
    const int64_t call = ++rule.num_matches;
    if (call < rule.first || call > rule.last) continue;
    if (decision.effect == Effect::kNothing) decision = rule.effect;
  }
  if (decision.effect != Effect::kNothing) ++injector.num_hits;
  if (decision.effect == Effect::kKill) Die();
  return decision;
}

// Does not delay the calls of other threads: the mutex is free.
NamedEffect AfterDelay(const NamedEffect& effect) {
  if (effect.effect == Effect::kDelay) {
    std::this_thread::sleep_for(std::chrono::duration<double>(effect.seconds));
  }
  return effect;
}

NamedEffect EffectOnPath(std::string_view operation, std::string_view path,
                         std::string_view other_path = {}) {
  Injector& injector = TheInjector();
  std::unique_lock lock(injector.mutex);
  const NamedEffect effect = Decide(injector, operation, path, other_path);
  lock.unlock();
  return AfterDelay(effect);
}

NamedEffect EffectOnDescriptor(std::string_view operation, int descriptor) {
  Injector& injector = TheInjector();
  std::unique_lock lock(injector.mutex);
  const auto found = injector.opened_paths.find(descriptor);
  const std::string path =
      found == injector.opened_paths.end() ? std::string() : found->second;
  const NamedEffect effect = Decide(injector, operation, path, {});
  lock.unlock();
  return AfterDelay(effect);
}

// True, with errno set, if the call is to fail.
bool Fails(const NamedEffect& effect) {
  if (effect.effect != Effect::kFail) return false;
  errno = effect.error;
  return true;
}

// At least one byte, because a transfer of none means the end of a file.
size_t BytesToMove(const NamedEffect& effect, size_t size) {
  return effect.effect == Effect::kShort && size > 1 ? size / 2 : size;
}

}  // namespace

int Open(const char* path, int flags, mode_t mode) {
  if (!HasRules()) return open(path, flags, mode);
  if (Fails(EffectOnPath("open", path))) return -1;
  const int descriptor = open(path, flags, mode);
  if (descriptor >= 0) {
    Injector& injector = TheInjector();
    const std::lock_guard lock(injector.mutex);
    injector.opened_paths[descriptor] = path;
  }
  return descriptor;
}

ssize_t Pread(int descriptor, void* bytes, size_t size, off_t offset) {
  if (!HasRules()) return pread(descriptor, bytes, size, offset);
  const NamedEffect effect = EffectOnDescriptor("read", descriptor);
  if (Fails(effect)) return -1;
  const ssize_t got =
      pread(descriptor, bytes, BytesToMove(effect, size), offset);
  if (effect.effect == Effect::kFlip && got > 0) {
    static_cast<char*>(bytes)[got / 2] ^= 1;
  }
  return got;
}

ssize_t Write(int descriptor, const void* bytes, size_t size) {
  if (HasRules()) {
    const NamedEffect effect = EffectOnDescriptor("write", descriptor);
    if (Fails(effect)) return -1;
    size = BytesToMove(effect, size);
  }
  return write(descriptor, bytes, size);
}

int Truncate(int descriptor, off_t size) {
  if (HasRules() && Fails(EffectOnDescriptor("truncate", descriptor))) {
    return -1;
  }
  return ftruncate(descriptor, size);
}

int Fsync(int descriptor) {
  if (HasRules() && Fails(EffectOnDescriptor("fsync", descriptor))) return -1;
  return fsync(descriptor);
}

int Close(int descriptor) {
  if (!HasRules()) return close(descriptor);
  const NamedEffect effect = EffectOnDescriptor("close", descriptor);
  {
    // Before the number can be given to another file.
    Injector& injector = TheInjector();
    const std::lock_guard lock(injector.mutex);
    injector.opened_paths.erase(descriptor);
  }
  // A close that fails has still released the descriptor.
  const int result = close(descriptor);
  return Fails(effect) ? -1 : result;
}

int Rename(const char* from, const char* to) {
  if (HasRules() && Fails(EffectOnPath("rename", from, to))) return -1;
  return rename(from, to);
}

int RenameNoReplace(const char* from, const char* to) {
  if (HasRules() && Fails(EffectOnPath("rename", from, to))) return -1;
  return static_cast<int>(
      syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE));
}

int Unlink(const char* path) {
  if (HasRules() && Fails(EffectOnPath("unlink", path))) return -1;
  return unlink(path);
}

int Rmdir(const char* path) {
  if (HasRules() && Fails(EffectOnPath("rmdir", path))) return -1;
  return rmdir(path);
}

int Mkdir(const char* path, mode_t mode) {
  if (HasRules() && Fails(EffectOnPath("mkdir", path))) return -1;
  return mkdir(path, mode);
}

int Statvfs(const char* path, struct statvfs* result) {
  if (HasRules() && Fails(EffectOnPath("statvfs", path))) return -1;
  return statvfs(path, result);
}

int List(const char* path, std::vector<std::string>* names) {
  names->clear();
  if (HasRules() && Fails(EffectOnPath("list", path))) return -1;
  DIR* const folder = opendir(path);
  if (folder == nullptr) return -1;
  errno = 0;
  while (const dirent* entry = readdir(folder)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names->emplace_back(name);
  }
  const int error = errno;  // readdir's end and its errors look alike
  closedir(folder);
  errno = error;
  return error == 0 ? 0 : -1;
}

int MayStartThread() {
  return HasRules() && Fails(EffectOnPath("thread", {})) ? -1 : 0;
}

void KillPoint(const char* name) {
  if (HasRules()) EffectOnPath("@" + std::string(name), {});
}

ScopedFaults::ScopedFaults(const std::string& rules) {
  Injector& injector = TheInjector();
  const std::lock_guard lock(injector.mutex);
  ReadEnvironmentOnce(injector);
  if (injector.from_test.has_value()) {
    LogError("ScopedFaults: only one may exist at a time");
    std::abort();
  }
  injector.from_test = ParseFaultRulesOrDie(rules);
  injector.num_hits = 0;
  mode = Mode::kRules;
}

ScopedFaults::~ScopedFaults() {
  Injector& injector = TheInjector();
  const std::lock_guard lock(injector.mutex);
  injector.from_test.reset();
  if (!injector.from_environment.empty()) return;
  mode = Mode::kNoRules;
  injector.opened_paths.clear();
}

int64_t ScopedFaults::num_hits() const {
  Injector& injector = TheInjector();
  const std::lock_guard lock(injector.mutex);
  return injector.num_hits;
}

}  // namespace lextra::sys

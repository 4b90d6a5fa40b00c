#include "checkpoint/files/run_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <iterator>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/io/system_calls.h"
#include "tests/checkpoint/files/files_of_test.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

double SecondsOf(const std::function<void()>& call) {
  const auto start = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

std::string ThisHost() {
  char name[256] = "";
  gethostname(name, sizeof(name) - 1);
  return name;
}

// A process that tries to take a folder when it is told to, says how that went
// and holds what it has until it is told to end.
class Contender {
 public:
  explicit Contender(const std::string& run_folder) {
    EXPECT_EQ(pipe(commands_.data()), 0);
    EXPECT_EQ(pipe(answers_.data()), 0);
    pid_ = fork();
    if (pid_ == 0) Contend(run_folder);
    close(commands_[0]);
    close(answers_[1]);
  }
  ~Contender() {
    close(commands_[1]);
    close(answers_[0]);
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
  }

  pid_t pid() const { return pid_; }
  void Start() { EXPECT_EQ(write(commands_[1], "s", 1), 1); }
  // "taken", or the error's class and text after the seconds that it took.
  std::string Answer() {
    std::array<char, 2048> text;
    const ssize_t size = read(answers_[0], text.data(), text.size());
    return {text.data(), static_cast<size_t>(size < 0 ? 0 : size)};
  }
  void Kill() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  [[noreturn]] void Contend(const std::string& run_folder) {
    close(commands_[1]);
    close(answers_[0]);
    char command = 0;
    if (read(commands_[0], &command, 1) != 1) _exit(1);
    absl::StatusOr<std::unique_ptr<RunLock>> lock;
    const double seconds =
        SecondsOf([&] { lock = RunLock::Acquire(run_folder, ""); });
    const std::string answer =
        lock.ok()
            ? "taken"
            : absl::StrFormat("%s class %d: %s", seconds < 2 ? "soon" : "late",
                              static_cast<int>(ExitCodeOf(lock.status())),
                              lock.status().message());
    if (write(answers_[1], answer.data(), answer.size()) < 0) _exit(1);
    while (read(commands_[0], &command, 1) == 1) {
    }
    if (lock.ok()) lock->reset();
    _exit(0);
  }

  std::array<int, 2> commands_ = {-1, -1};
  std::array<int, 2> answers_ = {-1, -1};
  pid_t pid_ = -1;
};

class RunLockTest : public FilesOfTest {
 protected:
  std::string Get(const std::string& name) const {
    std::ifstream file(Path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  // A record as the owner on another host leaves it in a folder whose locks
  // don't reach here.
  void PutForeignRecord(int64_t counter) const {
    Put("LOCK", absl::StrFormat("host: far\nprocess: 4711\nstart: 1\nboot: b\n"
                                "job: 9\nsince: 2999-01-01T00:00:00Z\nrun: r\n"
                                "nonce: abc\ncounter: %020d\n",
                                counter));
  }
};

TEST_F(RunLockTest, OfTwoJobsOneWinsAndTheOtherNamesIt) {
  for (int race = 0; race < 50 && !HasFailure(); ++race) {
    Contender a(folder());
    Contender b(folder());
    a.Start();
    b.Start();
    const std::string answer_a = a.Answer();
    const std::string answer_b = b.Answer();
    SCOPED_TRACE(absl::StrCat(race, ": ", answer_a, " | ", answer_b));
    ASSERT_NE(answer_a == "taken", answer_b == "taken");
    const bool a_wins = answer_a == "taken";
    EXPECT_THAT(a_wins ? answer_b : answer_a,
                AllOf(HasSubstr("soon class 5"), HasSubstr(folder()),
                      HasSubstr(absl::StrCat("process ", (a_wins ? a : b).pid(),
                                             " on host ", ThisHost(), ","))));
  }
}

// What a dead owner left in the record must not be taken for the winner.
TEST_F(RunLockTest, TheFolderOfAKilledJobIsTakenAtOnceByOneOfTwo) {
  for (int race = 0; race < 10 && !HasFailure(); ++race) {
    Contender dead(folder());
    dead.Start();
    ASSERT_EQ(dead.Answer(), "taken");
    const pid_t dead_pid = dead.pid();
    dead.Kill();
    EXPECT_THAT(Get("LOCK"), HasSubstr(absl::StrCat("process: ", dead_pid)));
    Contender a(folder());
    Contender b(folder());
    a.Start();
    b.Start();
    const std::string answer_a = a.Answer();
    const std::string answer_b = b.Answer();
    SCOPED_TRACE(absl::StrCat(race, ": ", answer_a, " | ", answer_b));
    ASSERT_NE(answer_a == "taken", answer_b == "taken");
    EXPECT_THAT(answer_a == "taken" ? answer_b : answer_a,
                AllOf(HasSubstr("soon class 5"),
                      Not(HasSubstr(absl::StrCat("process ", dead_pid)))));
  }
}

TEST_F(RunLockTest, AJobThatComesAsTheOwnerLeavesGetsTheFolderOrANamedOwner) {
  for (int i = 0; i < 20 && !HasFailure(); ++i) {
    Contender next(folder());  // first: a child would share the lock
    auto first = RunLock::Acquire(folder(), "").value();
    std::thread leaving([&first] { first.reset(); });
    next.Start();
    const std::string answer = next.Answer();
    leaving.join();
    EXPECT_TRUE(answer == "taken" ||
                answer.find(absl::StrCat("process ", getpid(), " ")) !=
                    std::string::npos)
        << answer;
  }
}

TEST_F(RunLockTest, AFreeFolderHasAnEmptyRecordAndKeepsTheRunsName) {
  std::string run_id;
  {
    const auto lock = RunLock::Acquire(folder(), "").value();
    run_id = lock->run_id();
    EXPECT_GE(run_id.size(), 16u);
    EXPECT_EQ(Get("RUN_ID"), run_id + "\n");
    EXPECT_THAT(Get("LOCK"),
                AllOf(HasSubstr(absl::StrCat("process: ", getpid(), "\n")),
                      HasSubstr("host: " + ThisHost() + "\n"),
                      HasSubstr("run: " + run_id + "\n")));
    EXPECT_EQ(ReadLockNonce(folder()).value(), lock->nonce());
  }
  EXPECT_EQ(Get("LOCK"), "");
  EXPECT_EQ(ReadLockNonce(folder()).value(), "");
  const auto again = RunLock::Acquire(folder(), run_id).value();
  EXPECT_EQ(again->run_id(), run_id);
}

TEST_F(RunLockTest, AFolderOfResultsHasALockOfItsOwnAndNoName) {
  const auto run = RunLock::Acquire(Path(""), "");
  ASSERT_TRUE(run.ok()) << run.status();
  fs::remove(Path("RUN_ID"));
  {
    const auto results = RunLock::AcquireResults(Path(""));
    ASSERT_TRUE(results.ok()) << results.status();
    const auto second = RunLock::AcquireResults(Path(""));
    EXPECT_EQ(ExitCodeOf(second.status()), ExitCode::kRunFolderHeld);
    EXPECT_THAT(std::string(second.status().message()),
                AllOf(HasSubstr(absl::StrCat("process ", getpid())),
                      HasSubstr("another --results_dir")));
  }
  EXPECT_TRUE(RunLock::AcquireResults(Path("")).ok());
  EXPECT_FALSE(fs::exists(Path("RUN_ID")));
  EXPECT_TRUE(fs::exists(Path("results.lock")));
}

TEST_F(RunLockTest, NoncesDifferAndAMissingRecordIsAnError) {
  EXPECT_FALSE(ReadLockNonce(folder()).ok());
  const std::string first = RunLock::Acquire(folder(), "").value()->nonce();
  EXPECT_NE(RunLock::Acquire(folder(), "").value()->nonce(), first);
}

TEST_F(RunLockTest, TheFolderOfAnotherRunIsRefusedByName) {
  EXPECT_EQ(RunLock::Acquire(folder(), "mine").value()->run_id(), "mine");
  const absl::Status status = RunLock::Acquire(folder(), "yours").status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("'mine'"), HasSubstr("'yours'")));
  EXPECT_EQ(Get("RUN_ID"), "mine\n");
  EXPECT_EQ(Get("LOCK"), "");
  EXPECT_TRUE(RunLock::Acquire(folder(), "mine").ok());
}

TEST_F(RunLockTest, TheOwnersCounterMoves) {
  const auto lock = RunLock::Acquire(folder(), "").value();
  const std::string before = Get("LOCK");
  std::this_thread::sleep_for(
      std::chrono::duration<double>(2.5 * kLockBeatSeconds));
  const std::string after = Get("LOCK");
  EXPECT_NE(after, before);
  EXPECT_EQ(after.size(), before.size());
}

TEST_F(RunLockTest, AnOwnerElsewhereWhoseCounterMovesIsAliveWhateverClocksSay) {
  PutForeignRecord(1);
  // As old as files get: a clock that was set back, or a server's own.
  fs::last_write_time(
      Path("LOCK"), fs::file_time_type::clock::now() - std::chrono::hours(24));
  std::atomic<bool> ended = false;
  std::thread owner([&] {
    const fs::file_time_type old = fs::last_write_time(Path("LOCK"));
    for (int64_t counter = 2; !ended; ++counter) {
      std::this_thread::sleep_for(
          std::chrono::duration<double>(kLockBeatSeconds));
      std::fstream file(Path("LOCK"));
      file.seekp(-21, std::ios::end);
      file << absl::StrFormat("%020d\n", counter);
      file.close();
      fs::last_write_time(Path("LOCK"), old);
    }
  });
  absl::Status status;
  EXPECT_LT(
      SecondsOf([&] { status = RunLock::Acquire(folder(), "").status(); }), 2);
  ended = true;
  owner.join();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kRunFolderHeld);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("process 4711 on host far, job 9"));
}

TEST_F(RunLockTest, AnOwnerElsewhereWhoseCounterStandsStillIsDeadInSeconds) {
  PutForeignRecord(7);
  // However new the file looks.
  fs::last_write_time(
      Path("LOCK"), fs::file_time_type::clock::now() + std::chrono::hours(24));
  absl::StatusOr<std::unique_ptr<RunLock>> lock;
  const double seconds =
      SecondsOf([&] { lock = RunLock::Acquire(folder(), ""); });
  ASSERT_TRUE(lock.ok()) << lock.status();
  EXPECT_GE(seconds, kLockStaleSeconds);
  EXPECT_LT(seconds, 30);
  EXPECT_THAT(Get("LOCK"), Not(HasSubstr("far")));
}

TEST_F(RunLockTest, AProcessThatMayHaveNoThreadGetsAnErrorAndFreesTheFolder) {
  {
    const sys::ScopedFaults faults("thread:1:EAGAIN");
    const absl::Status status = RunLock::Acquire(folder(), "").status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("failed to start the heartbeat thread"));
  }
  EXPECT_TRUE(RunLock::Acquire(folder(), "").ok());
}

TEST_F(RunLockTest, AFolderThatCantBeWrittenIsAStorageError) {
  const absl::Status missing = RunLock::Acquire(Path("none"), "").status();
  EXPECT_EQ(ExitCodeOf(missing), ExitCode::kStorage);
  EXPECT_THAT(std::string(missing.message()), HasSubstr(Path("none/LOCK")));
  for (const char* rule : {"open:1-:EROFS", "write:1-:EROFS"}) {
    const sys::ScopedFaults faults(rule);
    const absl::Status status = RunLock::Acquire(folder(), "").status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("Read-only file system"));
  }
}

TEST_F(RunLockTest, WhatIsNoFileInALocksPlaceIsNotTouched) {
  Put("precious", "bytes");
  fs::create_symlink(Path("precious"), Path("LOCK"));
  EXPECT_EQ(ExitCodeOf(RunLock::Acquire(folder(), "").status()),
            ExitCode::kStorage);
  EXPECT_EQ(Get("precious"), "bytes");
  fs::remove(Path("LOCK"));
  fs::create_directory(Path("LOCK"));
  EXPECT_EQ(ExitCodeOf(RunLock::Acquire(folder(), "").status()),
            ExitCode::kStorage);
}

// A record that can't be read may be that of a live owner.
TEST_F(RunLockTest, AnUnreadableRecordIsNotAFreeFolder) {
  PutForeignRecord(7);
  const sys::ScopedFaults faults("read:1-:EIO");
  EXPECT_EQ(ExitCodeOf(RunLock::Acquire(folder(), "").status()),
            ExitCode::kStorage);
  EXPECT_THAT(Get("LOCK"), HasSubstr("host: far"));
}

}  // namespace
}  // namespace lextra

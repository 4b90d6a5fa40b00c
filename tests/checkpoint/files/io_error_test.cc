// Every system call of a save, a deletion, a copy, a read and of taking a run
// folder fails in turn, until no call is left to fail: nothing that was saved
// is lost, nothing is reported as saved that isn't, and afterwards everything
// works again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <functional>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/io/system_calls.h"
#include "checkpoint/files/checkpoint_copy.h"
#include "checkpoint/files/run_lock.h"
#include "checkpoint/files/shard_reader.h"
#include "checkpoint/files/step_folders.h"
#include "checkpoint/files/step_save.h"
#include "tests/checkpoint/files/files_of_test.h"
#include "tests/checkpoint/files/small_checkpoint.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;

// The n-th call fails once, or every call from the n-th on.
struct Trouble {
  std::string effect;
  bool stays = false;

  std::string RuleAt(int call, const std::string& operation = "*") const {
    return absl::StrCat(operation, ":", call, stays ? "-:" : ":", effect);
  }
};

const Trouble kTroubles[] = {{"EIO"},    {"ENOSPC"},    {"EDQUOT"},
                             {"ESTALE"}, {"EROFS"},     {"EINTR"},
                             {"short"},  {"EIO", true}, {"ENOSPC", true}};
const Trouble kReadTroubles[] = {{"EIO"}, {"ESTALE"}, {"EINTR"}, {"short"}};

class IoErrorTest : public FilesOfTest {
 protected:
  IoErrorTest() {
    for (const int64_t step : {5, 10}) {
      EXPECT_TRUE(SaveKnown(Path("template"), step, tensors_).ok());
    }
  }

  // Runs `attempt` in a fresh run folder that holds the steps 5 and 10 (its
  // name is passed), under each trouble at each call, and then `check`, without
  // trouble, with the attempt's status. Ends when no call was hit.
  void ForEachCall(
      std::span<const Trouble> troubles,
      const std::function<absl::Status(const std::string&)>& attempt,
      const std::function<void(const std::string&, const absl::Status&,
                               const Trouble&)>& check) {
    for (const Trouble& trouble : troubles) {
      bool hit = true;
      int call = 1;
      for (; hit && !HasFailure(); ++call) {
        const std::string run = Path("run");
        fs::copy(Path("template"), run, fs::copy_options::recursive);
        const size_t descriptors = NumDescriptors();
        absl::Status status;
        {
          const sys::ScopedFaults faults(trouble.RuleAt(call));
          status = attempt(run);
          hit = faults.num_hits() > 0;
        }
        SCOPED_TRACE(trouble.RuleAt(call) + ": " + status.ToString());
        EXPECT_EQ(NumDescriptors(), descriptors);
        if (!hit) {
          EXPECT_TRUE(status.ok());
        }
        check(run, status, trouble);
        fs::remove_all(run);
        fs::remove_all(Path("target"));
      }
      EXPECT_TRUE(call > 3 || HasFailure()) << "nothing was hit";
    }
  }

  static size_t NumDescriptors() {
    return std::distance(fs::directory_iterator("/proc/self/fd"), {});
  }

  // Every folder that looks committed is.
  void ExpectAllWhole(const std::string& run) {
    const auto folders = ListCheckpoints(run);
    ASSERT_TRUE(folders.ok());
    for (const std::string& step_folder : *folders) {
      EXPECT_TRUE(IsWhole(step_folder, tensors_)) << step_folder;
    }
  }

  // What a run can still do: tidy up and save.
  void ExpectContinues(const std::string& run) {
    EXPECT_EQ(RemoveLeftovers(run), absl::OkStatus());
    for (const auto& entry : fs::directory_iterator(run)) {
      const std::string name = entry.path().filename();
      EXPECT_TRUE(name.find("tmp") == std::string::npos &&
                  name.find("trash") == std::string::npos)
          << name;
    }
    const absl::StatusOr<std::string> next = SaveKnown(run, 30, tensors_);
    EXPECT_TRUE(next.ok() && IsWhole(*next, tensors_)) << next.status();
  }

  const std::vector<KnownTensor> tensors_ = KnownTensors(Size::kTiny, 1);
};

TEST_F(IoErrorTest, ASaveIsWholeOrFailsAndHarmsNothing) {
  ForEachCall(
      kTroubles,
      [this](const std::string& run) {
        return SaveKnown(run, 20, tensors_).status();
      },
      [this](const std::string& run, const absl::Status& status,
             const Trouble& trouble) {
        if (status.ok()) {
          EXPECT_TRUE(fs::exists(run + "/step-00000020"));
        } else {
          EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
          // Only a device that stays dead may keep the name from being taken
          // back when the folder could not be made durable.
          if (!trouble.stays) {
            EXPECT_FALSE(fs::exists(run + "/step-00000020"));
          }
        }
        if (trouble.effect == "short") {
          EXPECT_TRUE(status.ok());
        }
        if (trouble.effect == "EINTR" && !status.ok()) {
          EXPECT_THAT(std::string(status.message()),
                      ::testing::HasSubstr("failed to sync"));
        }
        EXPECT_TRUE(fs::exists(run + "/step-00000010"));
        ExpectAllWhole(run);
        ExpectContinues(run);
      });
}

// NFS reports a full disk at fsync or close. Syncs: three shards, manifest, its
// folder, the run folder.
TEST_F(IoErrorTest, WhatCantBeWrittenSyncedOrClosedIsNeverASuccess) {
  const std::pair<std::string, int> least[] = {
      {"write", 12}, {"fsync", 6}, {"close", 6}, {"rename", 1}};
  for (const auto& [operation, num_calls] : least) {
    int call = 1;
    for (bool hit = true; hit && !HasFailure(); ++call) {
      const sys::ScopedFaults faults(
          absl::StrCat(operation, ":", call, ":ENOSPC"));
      const absl::Status status =
          SaveKnown(Path("template"), 20 + call, tensors_).status();
      hit = faults.num_hits() > 0;
      EXPECT_EQ(ExitCodeOf(status),
                hit ? ExitCode::kStorage : ExitCode::kFinished)
          << operation << " " << call;
      EXPECT_EQ(fs::exists(Path("template/") + StepFolderName(20 + call)),
                !hit);
    }
    EXPECT_GE(call - 2, num_calls) << operation;
    fs::remove_all(Path("template/") + StepFolderName(20 + call - 1));
  }
}

TEST_F(IoErrorTest, TroubleWithTheHintDoesNotUndoTheCommit) {
  const StepSave save = {"", 10, ""};
  ForEachCall(
      kTroubles,
      [&](const std::string& run) {
        StepSave named = save;
        named.run_folder = run;
        NameLatest(named);
        return absl::OkStatus();
      },
      [this](const std::string& run, const absl::Status&, const Trouble&) {
        ExpectAllWhole(run);
        ExpectContinues(run);
      });
}

TEST_F(IoErrorTest, TroubleWithTheMarkHarmsNothing) {
  ForEachCall(
      kTroubles,
      [](const std::string& run) {
        MarkVerified(run + "/step-00000010");
        return absl::OkStatus();
      },
      [this](const std::string& run, const absl::Status&, const Trouble&) {
        ExpectAllWhole(run);
        ExpectContinues(run);
      });
}

TEST_F(IoErrorTest, ADeletionTakesWholeCheckpointsOnly) {
  ForEachCall(
      kTroubles,
      [](const std::string& run) {
        return DeleteOldCheckpoints(run, {.keep_last = 1}, {10});
      },
      [this](const std::string& run, const absl::Status& status,
             const Trouble&) {
        if (status.ok()) {
          EXPECT_FALSE(fs::exists(run + "/step-00000005"));
        }
        EXPECT_TRUE(fs::exists(run + "/step-00000010"));
        ExpectAllWhole(run);
        EXPECT_EQ(DeleteOldCheckpoints(run, {.keep_last = 1}, {10}),
                  absl::OkStatus());
        EXPECT_FALSE(fs::exists(run + "/step-00000005"));
        ExpectContinues(run);
      });
}

TEST_F(IoErrorTest, ALockThatCantBeTakenIsFreeAfterwards) {
  ForEachCall(
      kTroubles,
      [](const std::string& run) {
        return RunLock::Acquire(run, "mine").status();
      },
      [this](const std::string& run, const absl::Status& status,
             const Trouble& trouble) {
        if (!status.ok()) {
          EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
          EXPECT_THAT(std::string(status.message()),
                      ::testing::Not(::testing::HasSubstr("Success")));
        }
        if (trouble.effect == "short") {
          EXPECT_TRUE(status.ok());
        }
        const auto start = std::chrono::steady_clock::now();
        const auto lock = RunLock::Acquire(run, "mine");
        EXPECT_TRUE(lock.ok()) << lock.status();
        EXPECT_LT(std::chrono::steady_clock::now() - start,
                  std::chrono::seconds(2));
        if (lock.ok()) ExpectContinues(run);
      });
}

TEST_F(IoErrorTest, ACopyIsWholeOrFailsAndItsSourceStays) {
  const auto copy = [this](const std::string& run) {
    return CopyCheckpoint(run + "/step-00000010", Path("target")).status();
  };
  ForEachCall(kTroubles, copy,
              [&](const std::string& run, const absl::Status& status,
                  const Trouble& trouble) {
                if (!status.ok() && trouble.effect == "EIO") {
                  EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
                }
                if (trouble.effect == "short") {
                  EXPECT_TRUE(status.ok());
                }
                ExpectAllWhole(run);
                if (!fs::exists(Path("target"))) return;
                ExpectAllWhole(Path("target"));
                if (!trouble.stays) {
                  EXPECT_EQ(fs::exists(Path("target/step-00000010")),
                            status.ok());
                }
                EXPECT_EQ(RemoveLeftovers(Path("target")), absl::OkStatus());
              });
}

// Once more is enough where a device or a server stumbles.
TEST_F(IoErrorTest, AReadThatFailsOnceIsMadeAgain) {
  ForEachCall(
      kReadTroubles,
      [this](const std::string& run) {
        const ReadResult result = ReadKnown(run + "/step-00000010", tensors_);
        EXPECT_FALSE(result.has_wrong);
        return result.status;
      },
      [](const std::string&, const absl::Status& status, const Trouble&) {
        EXPECT_TRUE(status.ok());
      });
}

TEST_F(IoErrorTest, ADeviceThatDoesNotAnswerIsNotCalledDamage) {
  for (const char* effect : {"EIO", "ESTALE"}) {
    for (const char* operation : {"open", "read"}) {
      int call = 1;
      for (bool hit = true; hit; ++call) {
        const sys::ScopedFaults faults(
            Trouble{effect, true}.RuleAt(call, operation));
        const ReadResult result =
            ReadKnown(Path("template/step-00000010"), tensors_);
        hit = faults.num_hits() > 0;
        SCOPED_TRACE(absl::StrCat(operation, " ", call, " ", effect, ": ",
                                  result.status.ToString()));
        EXPECT_EQ(ExitCodeOf(result.status),
                  hit ? ExitCode::kStorage : ExitCode::kFinished);
        EXPECT_FALSE(result.has_wrong);
      }
      EXPECT_GT(call, 4);
    }
  }
}

TEST_F(IoErrorTest, AProcessOutOfDescriptorsDoesNotCallItDamage) {
  // Taken out first: sanitizers need a descriptor to look at an object.
  const std::string step_folder = Path("template/step-00000010");
  const std::vector<KnownTensor> tensors = tensors_;
  struct rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  struct rlimit none = limit;
  none.rlim_cur = 3;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const ReadResult result = ReadKnown(step_folder, tensors);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(ExitCodeOf(result.status), ExitCode::kStorage) << result.status;
}

TEST_F(IoErrorTest, AListThatCantBeReadIsNotAnEmptyRun) {
  const sys::ScopedFaults faults("list:1-:EIO");
  EXPECT_EQ(ExitCodeOf(ListCheckpoints(Path("template")).status()),
            ExitCode::kStorage);
  EXPECT_EQ(ExitCodeOf(FindCheckpoint(Path("template")).status()),
            ExitCode::kStorage);
  EXPECT_EQ(ExitCodeOf(RemoveLeftovers(Path("template"))), ExitCode::kStorage);
}

}  // namespace
}  // namespace lextra

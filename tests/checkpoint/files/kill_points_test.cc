// The process dies at every named point and before every system call of a save
// and of the deletion that follows it. What was saved before stays, what looks
// saved is, and the next run resumes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <regex>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/io/system_calls.h"
#include "checkpoint/files/checkpoint_copy.h"
#include "checkpoint/files/step_folders.h"
#include "checkpoint/files/step_save.h"
#include "tests/checkpoint/files/files_of_test.h"
#include "tests/checkpoint/files/small_checkpoint.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;

// Names of the kill points in the sources of checkpoint/files, so that none can
// be forgotten here.
std::set<std::string> KillPointsOfSources() {
  const char* root = std::getenv("LEXTRA_SOURCE_DIR");
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(
           absl::StrCat(root == nullptr ? "." : root, "/checkpoint/files"))) {
    if (entry.path().extension() != ".cc") continue;
    std::ifstream file(entry.path());
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const std::regex pattern("KillPoint\\(\"(\\w+)\"\\)");
    for (std::sregex_iterator match(text.begin(), text.end(), pattern), end;
         match != end; ++match) {
      names.insert((*match)[1]);
    }
  }
  return names;
}

class KillPointsTest : public FilesOfTest {
 protected:
  KillPointsTest() {
    for (const int64_t step : {5, 10}) {
      EXPECT_TRUE(SaveKnown(Path("template"), step, tensors_).ok());
    }
  }

  // Saves step 20 and deletes step 5 in a process that follows `rule`. True if
  // the rule killed it.
  bool DiesSaving(const std::string& run, const std::string& rule) {
    const pid_t child = fork();
    if (child == 0) {
      const sys::ScopedFaults faults(rule);
      const bool saved = SaveKnown(run, 20, tensors_).ok();
      NameLatest({run, 20, ""});
      MarkVerified(run + "/step-00000020");
      const bool deleted =
          DeleteOldCheckpoints(run, {.keep_last = 2}, {10, 20}).ok();
      _exit(saved && deleted ? 0 : 1);
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) {
      EXPECT_EQ(WTERMSIG(status), SIGKILL);
      return true;
    }
    EXPECT_EQ(WEXITSTATUS(status), 0);
    return false;
  }

  // Lets a process die so in a fresh run folder with the steps 5 and 10, and
  // looks at what is left. True if it died.
  bool SurvivesDeath(const std::string& rule) {
    SCOPED_TRACE(rule);
    const std::string run = Path("run");
    fs::copy(Path("template"), run, fs::copy_options::recursive);
    const bool died = DiesSaving(run, rule);
    EXPECT_TRUE(fs::exists(run + "/step-00000010"));
    ExpectAllWhole(run);
    EXPECT_EQ(RemoveLeftovers(run), absl::OkStatus());
    for (const auto& entry : fs::directory_iterator(run)) {
      const std::string name = entry.path().filename();
      EXPECT_TRUE(StepOf(name).has_value() || name == "latest") << name;
    }
    ExpectAllWhole(run);
    // The step that died, if it is not there, and else the next.
    const bool committed = fs::exists(run + "/step-00000020");
    const auto next = SaveKnown(run, committed ? 30 : 20, tensors_);
    EXPECT_TRUE(next.ok() && IsWhole(*next, tensors_)) << next.status();
    fs::remove_all(run);
    return died;
  }

  void ExpectAllWhole(const std::string& run) {
    const auto folders = ListCheckpoints(run);
    ASSERT_TRUE(folders.ok());
    for (const std::string& step_folder : *folders) {
      EXPECT_TRUE(IsWhole(step_folder, tensors_)) << step_folder;
    }
  }

  const std::vector<KnownTensor> tensors_ = KnownTensors(Size::kTiny, 1);
};

TEST_F(KillPointsTest, DeathAtEveryNamedPointLeavesWholeCheckpoints) {
  const std::set<std::string> names = KillPointsOfSources();
  EXPECT_GE(names.size(), 14u);
  for (const std::string& name : names) {
    EXPECT_TRUE(SurvivesDeath(absl::StrCat("@", name, ":1:kill")))
        << name << " is on no way that this test goes";
  }
  for (int box = 2; box <= 9; ++box) {
    EXPECT_TRUE(SurvivesDeath(absl::StrCat("@box_written:", box, ":kill")));
  }
  for (int rank = 1; rank <= kNumShards; ++rank) {
    EXPECT_TRUE(SurvivesDeath(absl::StrCat("@shard_durable:", rank, ":kill")));
  }
}

TEST_F(KillPointsTest, DeathBeforeEverySystemCallLeavesWholeCheckpoints) {
  int call = 1;
  while (SurvivesDeath(absl::StrCat("*:", call, ":kill")) && !HasFailure()) {
    ++call;
  }
  EXPECT_TRUE(call > 50 || HasFailure()) << call;
}

TEST_F(KillPointsTest, AnAcknowledgedSaveOutlivesTheProcess) {
  for (const std::string point :
       {"committed", "named_latest", "marked", "trashed"}) {
    const std::string run = Path("run");
    fs::copy(Path("template"), run, fs::copy_options::recursive);
    EXPECT_TRUE(DiesSaving(run, absl::StrCat("@", point, ":1:kill")));
    EXPECT_TRUE(IsWhole(run + "/step-00000020", tensors_));
    fs::remove_all(run);
  }
}

}  // namespace
}  // namespace lextra

#include "base/io/system_calls.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "base/log.h"
#include "tests/testing/temporary_folder.h"

namespace lextra::sys {
namespace {

using lextra::testing::TemporaryFolder;
using ::testing::ExitedWithCode;
using ::testing::KilledBySignal;
using ::testing::UnorderedElementsAre;

std::string PutFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

// 0 or the errno of the call.
int ErrorOf(const std::function<int64_t()>& call) {
  errno = 0;
  return call() < 0 ? errno : 0;
}

int OpenForWriting(const std::string& path) {
  return Open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

TEST(SystemCalls, DoWhatTheirNamesSayWithoutRules) {
  const TemporaryFolder folder;
  const std::string file = folder / "file";
  const int descriptor = OpenForWriting(file);
  ASSERT_GE(descriptor, 0);
  EXPECT_EQ(Write(descriptor, "12345", 5), 5);
  EXPECT_EQ(Fsync(descriptor), 0);
  char bytes[8] = {};
  EXPECT_EQ(Pread(descriptor, bytes, 8, 2), 3);
  EXPECT_STREQ(bytes, "345");
  EXPECT_EQ(Close(descriptor), 0);
  EXPECT_EQ(ErrorOf([&] { return Close(descriptor); }), EBADF);

  EXPECT_EQ(Mkdir((folder / "inner").c_str(), 0700), 0);
  EXPECT_EQ(Rename(file.c_str(), (folder / "inner/b").c_str()), 0);
  std::vector<std::string> names = {"old"};
  EXPECT_EQ(List(folder.path().c_str(), &names), 0);
  EXPECT_THAT(names, UnorderedElementsAre("inner"));
  EXPECT_EQ(ErrorOf([&] { return Rmdir((folder / "inner").c_str()); }),
            ENOTEMPTY);
  EXPECT_EQ(Unlink((folder / "inner/b").c_str()), 0);
  EXPECT_EQ(Rmdir((folder / "inner").c_str()), 0);
  EXPECT_EQ(ErrorOf([&] { return List(file.c_str(), &names); }), ENOENT);
  struct statvfs status;
  EXPECT_EQ(Statvfs(folder.path().c_str(), &status), 0);
  EXPECT_GT(status.f_blocks, 0u);
}

TEST(SystemCalls, RenameNoReplaceLeavesBothWhereTheTargetExists) {
  const TemporaryFolder folder;
  const std::string a = PutFile(folder / "a", "a");
  const std::string b = PutFile(folder / "b", "b");
  EXPECT_EQ(ErrorOf([&] { return RenameNoReplace(a.c_str(), b.c_str()); }),
            EEXIST);
  EXPECT_TRUE(std::filesystem::exists(a));
  EXPECT_EQ(RenameNoReplace(a.c_str(), (folder / "c").c_str()), 0);
  EXPECT_FALSE(std::filesystem::exists(a));
}

// Every call of the interface on things of its own, by operation.
struct NamedCall {
  const char* operation;
  std::function<int64_t()> call;
};

std::vector<NamedCall> AllCalls(const TemporaryFolder& folder, int descriptor) {
  const auto path = [&folder](const char* name) { return folder / name; };
  return {
      {"open", [=] { return OpenForWriting(path("opened")); }},
      {"read",
       [=] {
         char byte;
         return Pread(descriptor, &byte, 1, 0);
       }},
      {"write", [=] { return Write(descriptor, "x", 1); }},
      {"truncate", [=] { return Truncate(descriptor, 1); }},
      {"fsync", [=] { return Fsync(descriptor); }},
      {"rename", [=] { return Rename(path("r").c_str(), path("r2").c_str()); }},
      {"rename",
       [=] { return RenameNoReplace(path("r2").c_str(), path("r").c_str()); }},
      {"unlink", [=] { return Unlink(path("u").c_str()); }},
      {"mkdir", [=] { return Mkdir(path("m").c_str(), 0700); }},
      {"rmdir", [=] { return Rmdir(path("m").c_str()); }},
      {"list",
       [=] {
         std::vector<std::string> names;
         return List(path("").c_str(), &names);
       }},
      {"statvfs",
       [=] {
         struct statvfs status;
         return Statvfs(path("").c_str(), &status);
       }},
      {"thread", [] { return MayStartThread(); }},
      {"close", [=] { return Close(descriptor); }}};
}

TEST(Faults, HitTheOperationOfTheirNameAndNoOther) {
  for (const NamedCall& target : AllCalls(TemporaryFolder(), -1)) {
    const TemporaryFolder folder;
    PutFile(folder / "r", "r");
    PutFile(folder / "u", "u");
    const int descriptor = OpenForWriting(folder / "file");
    const ScopedFaults faults(std::string(target.operation) + ":1-:EROFS");
    for (const NamedCall& each : AllCalls(folder, descriptor)) {
      const bool hit = std::string(each.operation) == target.operation;
      const int error = ErrorOf(each.call);
      EXPECT_EQ(error == EROFS, hit) << each.operation << " " << error;
    }
  }
}

TEST(Faults, AnyOperationCanFailWithEachError) {
  const std::pair<const char*, int> effects[] = {
      {"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT},
      {"ESTALE", ESTALE}, {"EINTR", EINTR},   {"EROFS", EROFS},
      {"EAGAIN", EAGAIN}};
  for (const auto& [name, error] : effects) {
    const TemporaryFolder folder;
    const int descriptor = OpenForWriting(folder / "file");
    const ScopedFaults faults("*:1-:" + std::string(name));
    for (const NamedCall& each : AllCalls(folder, descriptor)) {
      EXPECT_EQ(ErrorOf(each.call), error) << each.operation;
    }
    EXPECT_EQ(faults.num_hits(), 14);
    EXPECT_FALSE(std::filesystem::exists(folder / "opened"));
  }
}

TEST(Faults, AFailedCloseHasReleasedTheDescriptor) {
  const TemporaryFolder folder;
  const ScopedFaults faults("close:1:EIO");
  const int descriptor = OpenForWriting(folder / "file");
  EXPECT_EQ(ErrorOf([&] { return Close(descriptor); }), EIO);
  EXPECT_EQ(fcntl(descriptor, F_GETFD), -1);
}

// A letter for each of `num_calls` calls: I for EIO, R for EROFS, else a dot.
std::string CallsUnder(const std::string& rules, int num_calls) {
  const ScopedFaults faults(rules);
  std::string calls;
  for (int i = 0; i < num_calls; ++i) {
    const int error = ErrorOf([] { return Unlink("/none/file"); });
    calls += error == EIO ? 'I' : error == EROFS ? 'R' : '.';
  }
  EXPECT_EQ(num_calls - faults.num_hits(),
            std::count(calls.begin(), calls.end(), '.'));
  return calls;
}

TEST(Faults, HitTheCallsOfTheirRange) {
  EXPECT_EQ(CallsUnder("", 5), ".....");
  EXPECT_EQ(CallsUnder("unlink:2:EIO", 5), ".I...");
  EXPECT_EQ(CallsUnder("unlink:2-4:EIO", 5), ".III.");
  EXPECT_EQ(CallsUnder("unlink:3-:EIO", 5), "..III");
  EXPECT_EQ(CallsUnder("*:1:EIO;unlink:4:EROFS;open:1-:EIO;", 5), "I..R.");
  EXPECT_EQ(CallsUnder("unlink:2-3:EIO;unlink:3-4:EROFS", 5), ".IIR.");
}

TEST(Faults, PathsSelectAndAreCountedApart) {
  const TemporaryFolder folder;
  const std::string a = folder / "shard-a";
  const std::string b = folder / "shard-b";
  const ScopedFaults faults(
      "write:2:ENOSPC:path=ard-b;rename:1:EIO:path=shard-b");
  const int file_a = OpenForWriting(a);
  const int file_b = OpenForWriting(b);
  const auto write_error = [](int descriptor) {
    return ErrorOf([&] { return Write(descriptor, "x", 1); });
  };
  EXPECT_EQ(write_error(file_b), 0);
  EXPECT_EQ(write_error(file_a), 0);
  EXPECT_EQ(write_error(file_a), 0);
  EXPECT_EQ(write_error(file_b), ENOSPC);
  EXPECT_EQ(write_error(file_b), 0);
  Close(file_a);
  Close(file_b);
  // A rename is known by either of its names.
  EXPECT_EQ(ErrorOf([&] { return Rename(a.c_str(), b.c_str()); }), EIO);
}

TEST(Faults, ForgetTheFileOfAClosedDescriptor) {
  const TemporaryFolder folder;
  const ScopedFaults faults("write:1-:EIO:path=first");
  const int first = OpenForWriting(folder / "first");
  Close(first);
  // The number's next owner was opened by someone else.
  const int second =
      open((folder / "second").c_str(), O_WRONLY | O_CREAT, 0600);
  EXPECT_EQ(first, second);
  EXPECT_EQ(Write(second, "x", 1), 1);
  Close(second);
}

TEST(Faults, RanksSelect) {
  const auto error_on_rank = [](int rank) {
    SetLogIdentity(rank, 4, "host");
    const ScopedFaults faults("unlink:1:EIO:rank=2");
    const int error = ErrorOf([] { return Unlink("/none/file"); });
    SetLogIdentity(0, 1, "");
    return error;
  };
  EXPECT_EQ(error_on_rank(0), ENOENT);
  EXPECT_EQ(error_on_rank(1), ENOENT);
  EXPECT_EQ(error_on_rank(2), EIO);
}

TEST(Faults, FlipChangesOneBitOfWhatIsReadAndNothingOfTheFile) {
  const TemporaryFolder folder;
  const int file = OpenForWriting(folder / "file");
  char bytes[4] = {};
  {
    const ScopedFaults faults("*:2:flip");
    EXPECT_EQ(Write(file, "0123", 4), 4);
    EXPECT_EQ(Pread(file, bytes, 4, 0), 4);
    EXPECT_EQ(std::string_view(bytes, 4), "0133");
    EXPECT_EQ(Pread(file, bytes, 4, 0), 4);
    EXPECT_EQ(std::string_view(bytes, 4), "0123");
  }
  Close(file);
}

TEST(Faults, ShortMovesHalfOfTheBytesAndAtLeastOne) {
  const TemporaryFolder folder;
  const int file = OpenForWriting(folder / "file");
  const ScopedFaults faults("*:1-:short");
  EXPECT_EQ(Write(file, "0123456789", 10), 5);
  EXPECT_EQ(Write(file, "56789", 5), 2);
  EXPECT_EQ(Write(file, "x", 1), 1);
  EXPECT_EQ(std::filesystem::file_size(folder / "file"), 8u);
  char bytes[8] = {};
  EXPECT_EQ(Pread(file, bytes, 8, 0), 4);
  EXPECT_STREQ(bytes, "0123");
  EXPECT_EQ(Fsync(file), 0);
  EXPECT_EQ(Close(file), 0);
  EXPECT_EQ(faults.num_hits(), 6);
}

TEST(Faults, KillEndsTheProcessBeforeTheCall) {
  const TemporaryFolder folder;
  const std::string path = PutFile(folder / "file", "x");
  EXPECT_EXIT(
      {
        const ScopedFaults faults("unlink:2:kill");
        Unlink("/none/file");
        Unlink(path.c_str());
      },
      KilledBySignal(SIGKILL), "");
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST(Faults, KillPointsDieAtTheirNameAndCount) {
  const ScopedFaults faults("@commit:2:kill;@commit:1:kill:rank=7;*:1-:kill");
  KillPoint("other");
  KillPoint("commit");
  EXPECT_EXIT(KillPoint("commit"), KilledBySignal(SIGKILL), "");
}

double SecondsOf(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

TEST(Faults, DelayMakesTheCallLater) {
  const TemporaryFolder folder;
  const ScopedFaults faults("write:2:delay=0.2;@commit:2:delay=0.2");
  const int file = OpenForWriting(folder / "file");
  EXPECT_LT(SecondsOf([&] { EXPECT_EQ(Write(file, "x", 1), 1); }), 0.15);
  EXPECT_GE(SecondsOf([&] { EXPECT_EQ(Write(file, "y", 1), 1); }), 0.2);
  EXPECT_LT(SecondsOf([] { KillPoint("commit"); }), 0.15);
  EXPECT_GE(SecondsOf([] { KillPoint("commit"); }), 0.2);
  EXPECT_EQ(faults.num_hits(), 2);
  Close(file);
  EXPECT_EQ(std::filesystem::file_size(folder / "file"), 2u);
}

TEST(Faults, ADelayHoldsUpNoOtherThread) {
  const ScopedFaults faults("@slow:1:delay=1");
  std::atomic<bool> is_over = false;
  std::thread slow([&] {
    KillPoint("slow");
    is_over = true;
  });
  while (faults.num_hits() == 0) std::this_thread::yield();
  Unlink("/none/file");
  EXPECT_FALSE(is_over);
  slow.join();
}

TEST(Faults, EndWithTheirScope) {
  { const ScopedFaults faults("unlink:1-:EIO"); }
  EXPECT_EQ(ErrorOf([] { return Unlink("/none/file"); }), ENOENT);
}

TEST(Faults, AreCountedRightBySeveralThreads) {
  constexpr int kCallsEach = 2000;
  const ScopedFaults faults("unlink:1-1500:EIO");
  std::atomic<int> num_failed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int call = 0; call < kCallsEach; ++call) {
        if (Unlink("/none/file") != 0 && errno == EIO) ++num_failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(num_failed, 1500);
  EXPECT_EQ(faults.num_hits(), 1500);
}

TEST(Faults, AMisspeltRuleEndsTheProcessWithOneLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"wirte:1:EIO", "error: fault rule 'wirte:1:EIO': unknown operation"},
      {"write:1", "too few parts"},
      {"write:0:EIO", "bad call numbers"},
      {"write:-2:EIO", "bad call numbers"},
      {"write:5-4:EIO", "bad call numbers"},
      {"write:x:EIO", "bad call numbers"},
      {"write:1-2-3:EIO", "bad call numbers"},
      {"write:1:EOI", "unknown effect"},
      {"write:1:delay=", "unknown effect"},
      {"write:1:delay=0", "unknown effect"},
      {"write:1:delay=-1", "unknown effect"},
      {"write:1:delay=inf", "unknown effect"},
      {"write:1:delay", "unknown effect"},
      {"write:1:EIO:rank=", "bad filter"},
      {"write:1:EIO:rank=-1", "bad filter"},
      {"write:1:EIO:path=", "bad filter"},
      {"write:1:EIO:pth=x", "bad filter"},
      {"@:1:kill", "unknown operation"},
      {"@commit:1:EIO", "a kill point can only kill or delay"},
      {"@commit:1:delay=1:path=x", "a kill point can only kill or delay"},
      {"@commit:1:kill:path=x", "a kill point can only kill"},
      {"open:1:EIO;;write:1:EOI", "'write:1:EOI': unknown effect"}};
  for (const auto& [rules, message] : cases) {
    EXPECT_EXIT(ScopedFaults faults(rules), ExitedWithCode(2), message);
  }
}

// In processes of their own: the variable is read once.
class FaultsFromEnvironment : public ::testing::Test {
 protected:
  void SetUp() override {
    ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  }
  void TearDown() override { ::testing::FLAGS_gtest_death_test_style = "fast"; }
};

TEST_F(FaultsFromEnvironment, ApplyFromTheFirstCallOn) {
  EXPECT_EXIT(
      {
        setenv("LEXTRA_FAULTS", "unlink:1-2:EIO", 1);
        int num_failed = 0;
        for (int i = 0; i < 4; ++i) {
          num_failed += ErrorOf([] { return Unlink("/none/file"); }) == EIO;
        }
        std::_Exit(10 + num_failed);
      },
      ExitedWithCode(12), "");
}

TEST_F(FaultsFromEnvironment, RestWhileATestHasItsOwn) {
  EXPECT_EXIT(
      {
        setenv("LEXTRA_FAULTS", "unlink:1:EIO", 1);
        const auto error = [] { return Unlink("/none/file") < 0 ? errno : 0; };
        bool good = true;
        {
          const ScopedFaults faults("unlink:1:EROFS");
          good = error() == EROFS && error() == ENOENT;
        }
        good = good && error() == EIO && error() == ENOENT;
        std::_Exit(good ? 0 : 1);
      },
      ExitedWithCode(0), "");
}

TEST_F(FaultsFromEnvironment, MisspeltEndTheProcessAtTheFirstCall) {
  EXPECT_EXIT(
      {
        setenv("LEXTRA_FAULTS", "unlink:1:EOI", 1);
        Unlink("/none/file");
        std::_Exit(0);
      },
      ExitedWithCode(2), "error: fault rule 'unlink:1:EOI': unknown effect");
}

}  // namespace
}  // namespace lextra::sys

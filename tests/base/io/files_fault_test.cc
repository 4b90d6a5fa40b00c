// Every call that files.h makes fails in turn, until no call is left to fail
// (the method of SQLite's I/O error tests).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "base/io/files.h"
#include "base/io/open_files.h"
#include "base/io/system_calls.h"
#include "tests/base/io/folder_contents.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

using sys::ScopedFaults;
using testing::Get;
using ::testing::HasSubstr;
using testing::NamesIn;
using testing::TemporaryFolder;

int64_t NumOpenDescriptors() {
  return static_cast<int64_t>(NamesIn("/proc/self/fd").size());
}

std::string CallRule(int call, const std::string& effect) {
  return absl::StrFormat("*:%d:%s", call, effect);
}

// unlink of what a write that failed left; open, write, fsync, close, rename;
// open, fsync, close of the folder.
constexpr int kNumAtomicWriteCalls = 9;
constexpr int kRenameCall = 6;

TEST(FileWriterFaults, ALongFileIsMadeDurablePartByPart) {
  const std::string megabyte(1 << 20, 'x');
  const auto written = [&](int megabytes) -> absl::Status {
    const TemporaryFolder folder;
    LEXTRA_ASSIGN_OR_RETURN(FileWriter writer,
                            FileWriter::Create(folder / "file"));
    for (int i = 0; i < megabytes; ++i) {
      LEXTRA_RETURN_IF_ERROR(writer.Write(megabyte));
    }
    return absl::OkStatus();
  };
  const ScopedFaults faults("fsync:1-:EIO");
  EXPECT_EQ(written(255), absl::OkStatus());
  const absl::Status status = written(256);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
  EXPECT_THAT(std::string(status.message()), HasSubstr("failed to sync"));
  EXPECT_EQ(faults.num_hits(), 1);
}

TEST(AtomicWriteFaults, EachCallsErrorIsAStorageErrorAndLeavesAWholeFile) {
  for (const std::string effect :
       {"EIO", "ENOSPC", "EDQUOT", "ESTALE", "EROFS"}) {
    int call = 1;
    for (bool hit = true; hit; ++call) {
      const TemporaryFolder folder;
      const std::string path = folder / "file";
      ASSERT_EQ(AtomicWrite(path, "old"), absl::OkStatus());
      const int64_t descriptors = NumOpenDescriptors();
      absl::Status status;
      {
        const ScopedFaults faults(CallRule(call, effect));
        status = AtomicWrite(path, "new bytes");
        hit = faults.num_hits() > 0;
      }
      SCOPED_TRACE(CallRule(call, effect) + ": " + status.ToString());
      EXPECT_EQ(ExitCodeOf(status),
                hit ? ExitCode::kStorage : ExitCode::kFinished);
      // After the rename the new file is there, only not yet durable.
      EXPECT_EQ(Get(path), call <= kRenameCall ? "old" : "new bytes");
      EXPECT_EQ(NamesIn(folder.path()), (std::set<std::string>{"file"}));
      EXPECT_EQ(NumOpenDescriptors(), descriptors);
      ASSERT_EQ(AtomicWrite(path, "later"), absl::OkStatus());
      EXPECT_EQ(Get(path), "later");
    }
    EXPECT_EQ(call - 2, kNumAtomicWriteCalls);
  }
}

TEST(AtomicWriteFaults, ADeviceThatStaysDeadLeavesTheOldOrTheNewFile) {
  for (int call = 1; call <= kNumAtomicWriteCalls; ++call) {
    const TemporaryFolder folder;
    const std::string path = folder / "file";
    ASSERT_EQ(AtomicWrite(path, "old"), absl::OkStatus());
    {
      const ScopedFaults faults(absl::StrFormat("*:%d-:EIO", call));
      EXPECT_EQ(ExitCodeOf(AtomicWrite(path, "new bytes")), ExitCode::kStorage);
    }
    EXPECT_EQ(Get(path), call <= kRenameCall ? "old" : "new bytes");
    EXPECT_EQ(AtomicWrite(path, "later"), absl::OkStatus());
    EXPECT_EQ(NamesIn(folder.path()), (std::set<std::string>{"file"}));
  }
}

TEST(AtomicWriteFaults, ShortWritesContinue) {
  for (const std::string rule : {"*:1-:short", "write:1:short"}) {
    const TemporaryFolder folder;
    const ScopedFaults faults(rule);
    const std::string bytes = "0123456789abcdef!";
    EXPECT_EQ(AtomicWrite(folder / "file", bytes), absl::OkStatus());
    EXPECT_EQ(Get(folder / "file"), bytes);
    EXPECT_GE(faults.num_hits(), 1);
  }
}

TEST(AtomicWriteFaults, InterruptedCallsAreMadeAgainButForFsync) {
  int num_failed_syncs = 0;
  bool hit = true;
  for (int call = 1; hit; ++call) {
    const TemporaryFolder folder;
    const std::string path = folder / "file";
    ASSERT_EQ(AtomicWrite(path, "old"), absl::OkStatus());
    const ScopedFaults faults(CallRule(call, "EINTR"));
    const absl::Status status = AtomicWrite(path, "new bytes");
    hit = faults.num_hits() > 0;
    if (status.ok()) {
      EXPECT_EQ(Get(path), "new bytes");
    } else {
      ++num_failed_syncs;
      EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
      EXPECT_THAT(std::string(status.message()), HasSubstr("failed to sync"));
      EXPECT_EQ(Get(path), call <= kRenameCall ? "old" : "new bytes");
    }
    EXPECT_EQ(NamesIn(folder.path()), (std::set<std::string>{"file"}));
  }
  EXPECT_EQ(num_failed_syncs, 2);  // of the file and of its folder
}

// An append's calls: open, read of the last byte, write, truncate where that
// failed, close.
TEST(AppendToFileFaults, AnAppendIsWholeOrUndoneAndTheNextIsWhole) {
  for (const std::string effect :
       {"EIO", "ENOSPC", "EDQUOT", "ESTALE", "EINTR", "short"}) {
    bool hit = true;
    for (int call = 1; hit; ++call) {
      const TemporaryFolder folder;
      const std::string path = folder / "file";
      ASSERT_EQ(AppendToFile(path, "old\n"), absl::OkStatus());
      const int64_t descriptors = NumOpenDescriptors();
      absl::Status status;
      {
        const ScopedFaults faults(CallRule(call, effect));
        status = AppendToFile(path, "new line\n");
        hit = faults.num_hits() > 0;
      }
      SCOPED_TRACE(CallRule(call, effect) + ": " + status.ToString());
      EXPECT_EQ(Get(path), status.ok() ? "old\nnew line\n" : "old\n");
      EXPECT_EQ(NumOpenDescriptors(), descriptors);
      if (effect == "EINTR" || effect == "short") {
        EXPECT_EQ(status, absl::OkStatus());
      }
      ASSERT_EQ(AppendToFile(path, "next\n"), absl::OkStatus());
      EXPECT_EQ(Get(path),
                status.ok() ? "old\nnew line\nnext\n" : "old\nnext\n");
    }
  }
}

TEST(AppendToFileFaults, WhatFailsAfterItsFirstHalfIsCutOffAgain) {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  ASSERT_EQ(AppendToFile(path, "old\n"), absl::OkStatus());
  {
    const ScopedFaults faults("write:1:short;write:2:ENOSPC");
    EXPECT_EQ(ExitCodeOf(AppendToFile(path, "new line\n")), ExitCode::kStorage);
    EXPECT_EQ(faults.num_hits(), 2);
  }
  EXPECT_EQ(Get(path), "old\n");
  // Not even that works: the torn line gets an end, the next one is whole.
  {
    const ScopedFaults faults("write:1:short;write:2:EIO;truncate:1:EIO");
    EXPECT_EQ(ExitCodeOf(AppendToFile(path, "new line\n")), ExitCode::kStorage);
    EXPECT_EQ(faults.num_hits(), 3);
  }
  EXPECT_EQ(AppendToFile(path, "next\n"), absl::OkStatus());
  EXPECT_EQ(Get(path), "old\nnew \nnext\n");
}

TEST(TruncateFileFaults, EachCallsErrorIsAStorageError) {
  const TemporaryFolder folder;
  ASSERT_EQ(AtomicWrite(folder / "file", "0123"), absl::OkStatus());
  for (const char* operation : {"open", "truncate", "fsync", "close"}) {
    const ScopedFaults faults(std::string(operation) + ":1:EIO");
    EXPECT_EQ(ExitCodeOf(TruncateFile(folder / "file", 2)), ExitCode::kStorage)
        << operation;
  }
}

TEST(FileWriterFaults, AFailedFsyncIsNotTriedAgain) {
  const TemporaryFolder folder;
  const ScopedFaults faults("fsync:1:EIO");
  const absl::Status status = AtomicWrite(folder / "file", "x");
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
  EXPECT_EQ(status.message().substr(0, 14), "failed to sync");
}

TEST(ReadFaults, DeviceErrorsAreStorageErrorsAndOthersInputErrors) {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  ASSERT_EQ(AtomicWrite(path, "bytes"), absl::OkStatus());
  const InputFile file = InputFile::Open(path).value();
  std::byte bytes[5];
  const auto code_with = [&](const std::string& rule, auto call) {
    const ScopedFaults faults(rule);
    const ExitCode code = ExitCodeOf(call());
    EXPECT_EQ(faults.num_hits(), 1) << rule;
    return code;
  };
  const auto read = [&] { return ReadFile(path, 5).status(); };
  const auto read_part = [&] { return file.Read(0, bytes); };
  const auto open = [&] { return InputFile::Open(path).status(); };
  const auto map = [&] { return MappedFile::Open(path).status(); };
  const auto list = [&] { return ListFolder(folder.path()).status(); };
  for (const auto& [effect, code] : {std::pair{"EIO", ExitCode::kStorage},
                                     std::pair{"ESTALE", ExitCode::kStorage},
                                     std::pair{"EROFS", ExitCode::kInput}}) {
    const std::string end = absl::StrFormat(":1:%s", effect);
    EXPECT_EQ(code_with("open" + end, read), code);
    EXPECT_EQ(code_with("read" + end, read), code);
    EXPECT_EQ(code_with("read" + end, read_part), code);
    EXPECT_EQ(code_with("open" + end, open), code);
    EXPECT_EQ(code_with("open" + end, map), code);
    EXPECT_EQ(code_with("list" + end, list), code);
  }
}

TEST(ReadFaults, ShortAndInterruptedReadsContinue) {
  const TemporaryFolder folder;
  const std::string bytes = "0123456789abcdef!";
  ASSERT_EQ(AtomicWrite(folder / "file", bytes), absl::OkStatus());
  for (const std::string rule :
       {"*:1-:short", "read:1-3:EINTR", "open:1:EINTR", "close:1:EINTR"}) {
    const ScopedFaults faults(rule);
    EXPECT_EQ(ReadFile(folder / "file", 100).value(), bytes);
    EXPECT_GE(faults.num_hits(), 1) << rule;
  }
}

TEST(FolderFaults, ANewFoldersNameIsMadeDurable) {
  const TemporaryFolder folder;
  {
    const ScopedFaults faults("fsync:2:EIO");
    EXPECT_EQ(ExitCodeOf(MakeFolders(folder / "a/b")), ExitCode::kStorage);
  }
  const ScopedFaults faults("fsync:1-:EIO");
  EXPECT_EQ(MakeFolders(folder / "a/b"), absl::OkStatus());  // nothing is new
}

TEST(FolderFaults, EachOperationReportsItsFailure) {
  const TemporaryFolder folder;
  ASSERT_EQ(MakeFolders(folder / "tree/inner"), absl::OkStatus());
  ASSERT_EQ(AtomicWrite(folder / "tree/inner/file", "x"), absl::OkStatus());
  const std::string tree = folder / "tree";
  const auto expect_failure = [](const std::string& operation, auto call) {
    const ScopedFaults faults(operation + ":1-:EROFS");
    EXPECT_EQ(ExitCodeOf(call()), ExitCode::kStorage) << operation;
  };
  expect_failure("mkdir", [&] { return MakeFolders(folder / "a/b"); });
  expect_failure("mkdir", [&] { return MakeNewFolder(folder / "a"); });
  expect_failure("rename", [&] { return Rename(tree, folder / "b"); });
  expect_failure("rename", [&] { return RenameNoReplace(tree, folder / "b"); });
  expect_failure("statvfs", [&] { return FreeBytes(tree).status(); });
  expect_failure("list", [&] { return RemoveTree(tree); });
  expect_failure("unlink", [&] { return RemoveTree(tree); });
  EXPECT_EQ(Get(tree + "/inner/file"), "x");
  expect_failure("rmdir", [&] { return RemoveTree(tree); });
  EXPECT_EQ(RemoveTree(tree), absl::OkStatus());
  EXPECT_EQ(NamesIn(folder.path()), std::set<std::string>());
}

}  // namespace
}  // namespace lextra

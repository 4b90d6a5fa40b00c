#include "base/io/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>
#include <utility>

#include "base/io/open_files.h"
#include "tests/base/io/folder_contents.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

using ::testing::AllOf;
using testing::Get;
using ::testing::HasSubstr;
using testing::NamesIn;
using ::testing::StartsWith;
using testing::TemporaryFolder;

void Put(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

int ModeOf(const std::string& path) {
  struct stat status;
  EXPECT_EQ(stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 0777;
}

TEST(ReadFile, ReturnsAllBytes) {
  const TemporaryFolder folder;
  const std::string bytes("a\0b\r\n\xff", 6);
  Put(folder / "file", bytes);
  Put(folder / "empty", "");
  EXPECT_EQ(ReadFile(folder / "file", 6).value(), bytes);
  EXPECT_EQ(ReadFile(folder / "empty", 0).value(), "");
}

TEST(ReadFile, RefusesMoreThanTheCap) {
  const TemporaryFolder folder;
  Put(folder / "file", "123456");
  const absl::Status status = ReadFile(folder / "file", 5).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
  EXPECT_EQ(status.message(),
            (folder / "file") + ": 6 bytes, expected at most 5");
}

TEST(ReadFile, NamesWhatIsMissingOrNoFile) {
  const TemporaryFolder folder;
  const absl::Status missing = ReadFile(folder / "none", 10).status();
  EXPECT_EQ(ExitCodeOf(missing), ExitCode::kInput);
  EXPECT_EQ(missing.message(),
            (folder / "none") + ": No such file or directory");
  EXPECT_THAT(std::string(ReadFile(folder.path(), 10).status().message()),
              AllOf(StartsWith(folder.path()), HasSubstr("regular file")));
}

TEST(ReadFile, DoesNotWaitForAFifosWriter) {
  const TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  EXPECT_THAT(std::string(ReadFile(folder / "fifo", 10).status().message()),
              HasSubstr("regular file"));
}

TEST(AtomicWrite, CreatesAndReplaces) {
  const TemporaryFolder folder;
  EXPECT_EQ(AtomicWrite(folder / "file", "first"), absl::OkStatus());
  EXPECT_EQ(Get(folder / "file"), "first");
  EXPECT_EQ(AtomicWrite(folder / "file", ""), absl::OkStatus());
  EXPECT_EQ(Get(folder / "file"), "");
  EXPECT_EQ(AtomicWrite(folder / "file", std::string(100000, 'x')),
            absl::OkStatus());
  EXPECT_EQ(Get(folder / "file"), std::string(100000, 'x'));
  EXPECT_EQ(NamesIn(folder.path()), (std::set<std::string>{"file"}));
}

TEST(AtomicWrite, ReportsAFolderThatIsNotThere) {
  const TemporaryFolder folder;
  const absl::Status status = AtomicWrite(folder / "none/file", "x");
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
  EXPECT_THAT(std::string(status.message()), HasSubstr(folder / "none/file"));
}

TEST(AtomicWrite, AFailedRenameLeavesTheTargetAndNothingElse) {
  const TemporaryFolder folder;
  // No file can take the place of a folder, not even root's.
  ASSERT_TRUE(std::filesystem::create_directories(folder / "target/inside"));
  const absl::Status status = AtomicWrite(folder / "target", "x");
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
  EXPECT_THAT(std::string(status.message()), HasSubstr(folder / "target"));
  EXPECT_EQ(NamesIn(folder.path()), (std::set<std::string>{"target"}));
  EXPECT_TRUE(std::filesystem::is_directory(folder / "target/inside"));
}

// Within this object's life no file may grow beyond `bytes`: a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_;
  void (*handler_)(int);
};

TEST(AtomicWrite, AWriteThatFailsHalfwayLeavesTheOldFile) {
  const TemporaryFolder folder;
  ASSERT_EQ(AtomicWrite(folder / "file", "old"), absl::OkStatus());
  absl::Status status;
  {
    const FileSizeLimit limit(4096);
    status = AtomicWrite(folder / "file", std::string(10000, 'n'));
  }
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("failed to write"), HasSubstr("too large")));
  EXPECT_EQ(Get(folder / "file"), "old");
  EXPECT_EQ(NamesIn(folder.path()), (std::set<std::string>{"file"}));
}

TEST(AtomicWrite, AReaderNeverSeesAPart) {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  ASSERT_EQ(AtomicWrite(path, std::string(1 << 16, '0')), absl::OkStatus());
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (int i = 1; i <= 50; ++i) {
      const char letter = '0' + i % 10;
      EXPECT_EQ(AtomicWrite(path, std::string(1 << 16, letter)),
                absl::OkStatus());
    }
    done = true;
  });
  while (!done) {
    const absl::StatusOr<std::string> seen = ReadFile(path, 1 << 20);
    ASSERT_TRUE(seen.ok()) << seen.status();
    ASSERT_EQ(*seen, std::string(1 << 16, (*seen)[0]));
  }
  writer.join();
}

// The umask of the process within this object's life.
class ScopedUmask {
 public:
  explicit ScopedUmask(mode_t mask) : before_(umask(mask)) {}
  ~ScopedUmask() { umask(before_); }

 private:
  mode_t before_;
};

TEST(Permissions, AreWhatTheUmaskLeavesForFilesAndFolders) {
  for (const mode_t mask : {0002, 0022, 0077, 0}) {
    const ScopedUmask scoped(mask);
    const TemporaryFolder folder;
    ASSERT_EQ(MakeFolders(folder / "a/b"), absl::OkStatus());
    ASSERT_EQ(MakeNewFolder(folder / "c"), absl::OkStatus());
    for (const char* name : {"a", "a/b", "c"}) {
      EXPECT_EQ(ModeOf(folder / name), 0777 & ~mask) << name;
    }
    ASSERT_EQ(AtomicWrite(folder / "written", "x"), absl::OkStatus());
    ASSERT_EQ(AppendToFile(folder / "appended", "x\n"), absl::OkStatus());
    ASSERT_TRUE(FileWriter::Create(folder / "created").ok());
    for (const char* name : {"written", "appended", "created"}) {
      EXPECT_EQ(ModeOf(folder / name), 0666 & ~mask) << name;
    }
  }
}

TEST(MakeFolders, MakesAllParentsAndIsContentWithWhatIsThere) {
  const TemporaryFolder folder;
  EXPECT_EQ(MakeFolders(folder / "a/b/c"), absl::OkStatus());
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a/b/c"));
  EXPECT_EQ(MakeFolders(folder / "a/b/c/"), absl::OkStatus());
}

TEST(MakeFolders, NamesTheFileInTheWay) {
  const TemporaryFolder folder;
  Put(folder / "a", "");
  const absl::Status status = MakeFolders(folder / "a/b");
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
  EXPECT_THAT(std::string(status.message()), HasSubstr(folder / "a: "));
}

TEST(TemporaryName, OfEqualProcessIdsDiffersAndTellsWhoseItIs) {
  const std::string name = TemporaryName("run/latest");
  EXPECT_EQ(name, TemporaryName("run/latest"));
  EXPECT_NE(name, absl::StrFormat("run/latest.tmp-%d", getpid()));
  EXPECT_THAT(name, ::testing::MatchesRegex("run/latest\\.tmp-[0-9a-f]+"));
  EXPECT_TRUE(IsTemporaryNameOf(name, "run/latest"));
  EXPECT_FALSE(IsTemporaryNameOf(name, "run/late"));
  EXPECT_TRUE(IsTemporaryNameOf("latest.tmp-4711", "latest"));  // as of 0.1
  for (const char* other :
       {"latest", "latest.tmp-", "latest.tmp-mine", "latest.tmp-0123abc",
        "latest.tmp-0123456789ABCDEF", "latest.tmp-0123456789abcdef0"}) {
    EXPECT_FALSE(IsTemporaryNameOf(other, "latest")) << other;
  }
}

TEST(RemoveTemporaries, RemovesWhatDeadWritesLeftAndNothingElse) {
  const TemporaryFolder folder;
  const std::string mine[] = {"notes.tmp-1", "file.tmp-backup", "file",
                              "other.tmp-0123456789abcdef"};
  for (const std::string& name : mine) Put(folder / name, "");
  Put(folder / "file.tmp-12", "");
  Put(TemporaryName(folder / "file"), "");
  ASSERT_EQ(MakeNewFolder(folder / "file.tmp-13"), absl::OkStatus());
  const std::string_view files[] = {"file"};
  EXPECT_EQ(RemoveTemporaries(folder.path(), files), absl::OkStatus());
  std::set<std::string> left(std::begin(mine), std::end(mine));
  left.insert("file.tmp-13");
  EXPECT_EQ(NamesIn(folder.path()), left);
}

TEST(AppendToFile, AddsLinesAndBeginsANewOneAfterATornOne) {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  EXPECT_EQ(AppendToFile(path, ""), absl::OkStatus());
  EXPECT_EQ(AppendToFile(path, "a\n"), absl::OkStatus());
  EXPECT_EQ(AppendToFile(path, "b\nc\n"), absl::OkStatus());
  EXPECT_EQ(Get(path), "a\nb\nc\n");
  Put(path, "a\nb");
  EXPECT_EQ(AppendToFile(path, ""), absl::OkStatus());
  EXPECT_EQ(AppendToFile(path, "c\n"), absl::OkStatus());
  EXPECT_EQ(Get(path), "a\nb\nc\n");
}

TEST(AppendToFile, AFullDiskTakesAllOfALineOrNothing) {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  const std::string first(4090, 'x');
  ASSERT_EQ(AppendToFile(path, first + "\n"), absl::OkStatus());
  {
    const FileSizeLimit limit(4096);  // with room for half a line
    const absl::Status status = AppendToFile(path, "0123456789\n");
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  }
  EXPECT_EQ(Get(path), first + "\n");
  EXPECT_EQ(AppendToFile(path, "next\n"), absl::OkStatus());
  EXPECT_EQ(Get(path), first + "\nnext\n");
}

TEST(TruncateFile, KeepsTheFirstBytes) {
  const TemporaryFolder folder;
  Put(folder / "file", "0123456789");
  EXPECT_EQ(TruncateFile(folder / "file", 4), absl::OkStatus());
  EXPECT_EQ(Get(folder / "file"), "0123");
  EXPECT_EQ(ExitCodeOf(TruncateFile(folder / "none", 0)), ExitCode::kStorage);
}

TEST(MakeNewFolder, RefusesWhatExists) {
  const TemporaryFolder folder;
  EXPECT_EQ(MakeNewFolder(folder / "a"), absl::OkStatus());
  const absl::Status status = MakeNewFolder(folder / "a");
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
  EXPECT_EQ(status.message(),
            "failed to create folder " + (folder / "a") + ": File exists");
  EXPECT_EQ(ExitCodeOf(MakeNewFolder(folder / "none/b")), ExitCode::kStorage);
}

TEST(Rename, ReplacesAFile) {
  const TemporaryFolder folder;
  Put(folder / "a", "a");
  Put(folder / "b", "b");
  EXPECT_EQ(Rename(folder / "a", folder / "b"), absl::OkStatus());
  EXPECT_EQ(Get(folder / "b"), "a");
  EXPECT_EQ(ExitCodeOf(Rename(folder / "a", folder / "b")), ExitCode::kStorage);
}

TEST(RenameNoReplace, LeavesBothWhereTheTargetExists) {
  const TemporaryFolder folder;
  ASSERT_EQ(MakeFolders(folder / "new/inside"), absl::OkStatus());
  ASSERT_EQ(MakeFolders(folder / "empty"), absl::OkStatus());
  // Even an empty folder, which a plain rename would replace.
  const absl::Status status = RenameNoReplace(folder / "new", folder / "empty");
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
  EXPECT_THAT(std::string(status.message()), HasSubstr("exists"));
  EXPECT_EQ(NamesIn(folder / "empty"), std::set<std::string>());
  EXPECT_EQ(RenameNoReplace(folder / "new", folder / "free"), absl::OkStatus());
  EXPECT_EQ(NamesIn(folder.path()), (std::set<std::string>{"empty", "free"}));
}

TEST(RenameNoReplace, SaysWhereTheSystemCantDoIt) {
  const TemporaryFolder folder;
  // A folder can't go into itself: EINVAL, the answer of file systems that have
  // no such call.
  ASSERT_EQ(MakeFolders(folder / "a"), absl::OkStatus());
  EXPECT_EQ(RenameNoReplace(folder / "a", folder / "a/b").code(),
            absl::StatusCode::kUnimplemented);
}

TEST(RemoveTree, RemovesAllButWhatLinksPointTo) {
  const TemporaryFolder folder;
  ASSERT_EQ(MakeFolders(folder / "kept"), absl::OkStatus());
  Put(folder / "kept/file", "kept");
  ASSERT_EQ(MakeFolders(folder / "tree/a/b"), absl::OkStatus());
  Put(folder / "tree/a/file", "");
  ASSERT_EQ(mkfifo((folder / "tree/fifo").c_str(), 0600), 0);
  std::filesystem::create_symlink(folder / "kept", folder / "tree/a/link");
  std::filesystem::create_symlink(folder / "kept/file", folder / "tree/link");
  EXPECT_EQ(RemoveTree(folder / "tree"), absl::OkStatus());
  EXPECT_EQ(NamesIn(folder.path()), std::set<std::string>{"kept"});

  std::filesystem::create_symlink(folder / "kept", folder / "link");
  EXPECT_EQ(RemoveTree(folder / "link"), absl::OkStatus());
  EXPECT_EQ(NamesIn(folder.path()), std::set<std::string>{"kept"});
  EXPECT_EQ(Get(folder / "kept/file"), "kept");
}

TEST(RemoveTree, RemovesAFileAndIsContentWithNothing) {
  const TemporaryFolder folder;
  Put(folder / "file", "x");
  EXPECT_EQ(RemoveTree(folder / "file"), absl::OkStatus());
  EXPECT_EQ(RemoveTree(folder / "file"), absl::OkStatus());
  EXPECT_EQ(NamesIn(folder.path()), std::set<std::string>());
}

TEST(ListFolder, GivesSortedNames) {
  const TemporaryFolder folder;
  for (const char* name : {"b", ".hidden", "c", "a"}) Put(folder / name, "");
  EXPECT_EQ(ListFolder(folder.path()).value(),
            (std::vector<std::string>{".hidden", "a", "b", "c"}));
  EXPECT_EQ(ExitCodeOf(ListFolder(folder / "none").status()), ExitCode::kInput);
  EXPECT_EQ(ExitCodeOf(ListFolder(folder / "a").status()), ExitCode::kInput);
}

TEST(FreeBytes, IsWhatTheSystemSays) {
  const TemporaryFolder folder;
  const int64_t free_bytes = FreeBytes(folder.path()).value();
  const auto space = std::filesystem::space(folder.path());
  EXPECT_NEAR(static_cast<double>(free_bytes),
              static_cast<double>(space.available), 1 << 30);
  EXPECT_GT(free_bytes, 0);
  EXPECT_EQ(ExitCodeOf(FreeBytes(folder / "none").status()),
            ExitCode::kStorage);
}

TEST(SyncFolder, RefusesWhatIsNoFolder) {
  const TemporaryFolder folder;
  Put(folder / "file", "");
  EXPECT_EQ(SyncFolder(folder.path()), absl::OkStatus());
  EXPECT_EQ(ExitCodeOf(SyncFolder(folder / "file")), ExitCode::kStorage);
  EXPECT_EQ(ExitCodeOf(SyncFolder(folder / "none")), ExitCode::kStorage);
}

std::string TextOf(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()),
          file.bytes().size()};
}

TEST(MappedFile, ShowsTheBytes) {
  const TemporaryFolder folder;
  Put(folder / "file", "12345");
  const absl::StatusOr<MappedFile> file = MappedFile::Open(folder / "file");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->size(), 5);
  EXPECT_EQ(file->path(), folder / "file");
  EXPECT_EQ(TextOf(*file), "12345");
}

TEST(MappedFile, AnEmptyFileIsAnEmptySpan) {
  const TemporaryFolder folder;
  Put(folder / "file", "");
  const absl::StatusOr<MappedFile> file = MappedFile::Open(folder / "file");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->size(), 0);
  EXPECT_TRUE(file->bytes().empty());
}

TEST(MappedFile, MovesAndOutlivesItsName) {
  const TemporaryFolder folder;
  Put(folder / "a", "aaa");
  Put(folder / "b", "bb");
  MappedFile a = MappedFile::Open(folder / "a").value();
  MappedFile b = MappedFile::Open(folder / "b").value();
  MappedFile c = std::move(a);
  std::filesystem::remove(folder / "a");
  EXPECT_EQ(TextOf(c), "aaa");
  c = std::move(b);
  EXPECT_EQ(TextOf(c), "bb");
  EXPECT_EQ(c.path(), folder / "b");
}

TEST(MappedFile, NamesWhatItCantOpen) {
  const TemporaryFolder folder;
  for (const std::string& path : {folder / "none", folder.path()}) {
    const absl::Status status = MappedFile::Open(path).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
    EXPECT_THAT(std::string(status.message()), StartsWith(path + ": "));
  }
}

std::string ReadPart(const InputFile& file, int64_t offset, size_t size) {
  std::string bytes(size, '\0');
  EXPECT_EQ(file.Read(offset, std::as_writable_bytes(
                                  std::span(bytes.data(), bytes.size()))),
            absl::OkStatus());
  return bytes;
}

TEST(InputFile, ReadsAtChosenPlaces) {
  const TemporaryFolder folder;
  Put(folder / "file", "0123456789");
  InputFile file = InputFile::Open(folder / "file").value();
  EXPECT_EQ(file.size(), 10);
  EXPECT_EQ(file.path(), folder / "file");
  EXPECT_EQ(ReadPart(file, 7, 3), "789");
  EXPECT_EQ(ReadPart(file, 0, 4), "0123");
  EXPECT_EQ(ReadPart(file, 10, 0), "");
  file.DropCache();
  InputFile moved = std::move(file);
  EXPECT_EQ(ReadPart(moved, 2, 2), "23");
}

TEST(InputFile, SaysWhereAFileIsTooShort) {
  const TemporaryFolder folder;
  Put(folder / "file", "0123456789");
  const InputFile file = InputFile::Open(folder / "file").value();
  std::byte bytes[4];
  const absl::Status status = file.Read(8, bytes);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
  EXPECT_EQ(status.message(),
            (folder / "file") + ": ended after 10 of 12 bytes");
}

TEST(InputFile, OpensRegularFilesOnlyAndFollowsLinksToThem) {
  const TemporaryFolder folder;
  Put(folder / "file", "x");
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  std::filesystem::create_symlink(folder / "file", folder / "link");
  std::filesystem::create_symlink(folder / "fifo", folder / "link-to-fifo");
  EXPECT_EQ(InputFile::Open(folder / "link").value().size(), 1);
  for (const std::string& path :
       {folder / "link-to-fifo", folder / "fifo", folder.path()}) {
    const absl::Status status = InputFile::Open(path).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
    EXPECT_THAT(
        std::string(status.message()),
        AllOf(StartsWith(path + ": "), HasSubstr("not a regular file")));
  }
  EXPECT_EQ(InputFile::Open(folder / "none").status().message(),
            (folder / "none") + ": No such file or directory");
}

TEST(FileWriter, WritesFrontToBackAndCounts) {
  const TemporaryFolder folder;
  FileWriter writer = FileWriter::Create(folder / "file").value();
  const std::byte bytes[] = {std::byte{'c'}, std::byte{0}};
  EXPECT_EQ(writer.Write("ab"), absl::OkStatus());
  EXPECT_EQ(writer.Write(std::span(bytes)), absl::OkStatus());
  EXPECT_EQ(writer.Write(""), absl::OkStatus());
  EXPECT_EQ(writer.bytes_written(), 4);
  EXPECT_EQ(writer.Close(), absl::OkStatus());
  EXPECT_EQ(Get(folder / "file"), std::string("abc\0", 4));
}

TEST(FileWriter, NeverOverwritesOrFollowsLinks) {
  const TemporaryFolder folder;
  Put(folder / "file", "old");
  std::filesystem::create_symlink(folder / "elsewhere", folder / "link");
  for (const std::string& path : {folder / "file", folder / "link"}) {
    const absl::Status status = FileWriter::Create(path).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(path), HasSubstr("exists")));
  }
  EXPECT_EQ(Get(folder / "file"), "old");
  EXPECT_FALSE(std::filesystem::exists(folder / "elsewhere"));
}

TEST(FileWriter, MovesItsFile) {
  const TemporaryFolder folder;
  FileWriter first = FileWriter::Create(folder / "file").value();
  ASSERT_EQ(first.Write("a"), absl::OkStatus());
  FileWriter second = std::move(first);
  EXPECT_EQ(second.Write("b"), absl::OkStatus());
  EXPECT_EQ(second.bytes_written(), 2);
  EXPECT_EQ(second.Close(), absl::OkStatus());
  EXPECT_EQ(Get(folder / "file"), "ab");
}

TEST(FileWriter, ReportsAFullDisk) {
  const TemporaryFolder folder;
  FileWriter writer = FileWriter::Create(folder / "file").value();
  const FileSizeLimit limit(4096);
  EXPECT_EQ(writer.Write(std::string(4096, 'x')), absl::OkStatus());
  const absl::Status status = writer.Write("x");
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
  EXPECT_THAT(std::string(status.message()), HasSubstr(folder / "file"));
}

}  // namespace
}  // namespace lextra

#include "base/io/mapped_range.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/failure.h"
#include "base/io/files.h"
#include "base/io/open_files.h"
#include "base/log.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

class BusErrorDeathTest : public ::testing::Test {
 protected:
  BusErrorDeathTest() {
    EXPECT_TRUE(AtomicWrite(path_, std::string(20000, 'x')).ok());
  }

  const testing::TemporaryFolder folder_;
  const std::string path_ = folder_.path() + "/data.bin";
};

// What a compiler must not leave out.
void ReadByte(const std::byte* byte) {
  static_cast<void>(*static_cast<const volatile std::byte*>(byte));
}

TEST_F(BusErrorDeathTest, NamesTheFileAndEndsAllRanks) {
  EXPECT_EXIT(
      {
        SetLogIdentity(1, 2, "node7");
        SetAbortHandler([](int exit_code) { std::_Exit(10 + exit_code); });
        NameFilesOfBusErrors();
        const MappedFile other = MappedFile::Open(path_).value();
        MappedFile moved;
        moved = MappedFile::Open(path_).value();
        std::filesystem::resize_file(path_, 100);
        ReadByte(moved.bytes().data() + 19000);
      },
      ::testing::ExitedWithCode(13),
      "\\[rank 1 host node7\\] error: .*/data.bin: truncated while in use: 100 "
      "bytes, 20000 when it was opened; restore the file");
}

TEST_F(BusErrorDeathTest, OfAnotherMappingIsWhatItWas) {
  EXPECT_EXIT(
      {
        // That of the system, also under a sanitizer.
        signal(SIGBUS, SIG_DFL);
        NameFilesOfBusErrors();
        { const MappedFile gone = MappedFile::Open(path_).value(); }
        const int file = open(path_.c_str(), O_RDONLY);
        const void* data = mmap(nullptr, 20000, PROT_READ, MAP_SHARED, file, 0);
        std::filesystem::resize_file(path_, 100);
        ReadByte(static_cast<const std::byte*>(data) + 19000);
      },
      ::testing::KilledBySignal(SIGBUS), "^$");
}

TEST_F(BusErrorDeathTest, ManyMappingsComeAndGo) {
  EXPECT_EXIT(
      {
        NameFilesOfBusErrors();
        for (int i = 0; i < 3; ++i) {
          std::vector<MappedFile> many;
          for (int j = 0; j < 300; ++j) {
            many.push_back(MappedFile::Open(path_).value());
          }
        }
        const MappedFile last = MappedFile::Open(path_).value();
        std::filesystem::resize_file(path_, 0);
        ReadByte(last.bytes().data());
      },
      ::testing::ExitedWithCode(3),
      "data.bin: truncated while in use: 0 bytes");
}

TEST(MappedFile, NoticesThatItsFileBecameShorter) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.path() + "/data.bin";
  ASSERT_TRUE(AtomicWrite(path, "abcdef").ok());
  const MappedFile file = MappedFile::Open(path).value();
  EXPECT_TRUE(file.CheckSize().ok());
  std::filesystem::resize_file(path, 9);
  EXPECT_TRUE(file.CheckSize().ok());
  std::filesystem::resize_file(path, 5);
  EXPECT_EQ(ExitCodeOf(file.CheckSize()), ExitCode::kInput);
}

// The name leads to another file; what is mapped is as it was.
TEST(MappedFile, IsWholeAfterItsNameWasGivenToAnother) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.path() + "/data.bin";
  ASSERT_TRUE(AtomicWrite(path, "abcdef").ok());
  const MappedFile file = MappedFile::Open(path).value();
  ASSERT_TRUE(AtomicWrite(path, "abc").ok());
  EXPECT_TRUE(file.CheckSize().ok());
}

}  // namespace
}  // namespace lextra

#include "base/work_counter.h"

#include <gtest/gtest.h>

#include <functional>
#include <thread>
#include <vector>

#include "base/hash/crc32c.h"
#include "base/hash/sha256.h"
#include "base/io/files.h"
#include "base/io/open_files.h"
#include "base/io/system_calls.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

uint64_t CountedDuring(const std::function<void()>& work) {
  WorkCounter counter;
  const ScopedWorkCounter counted(counter);
  work();
  return counter.count();
}

TEST(WorkCounter, CountsTheThreadThatAskedForItAndNoOther) {
  EXPECT_EQ(CountedDuring([] {
              CountWork();
              std::thread([] { CountWork(); }).join();
              CountWork();
            }),
            2u);
  CountWork();  // no counter
}

TEST(WorkCounter, AnInnerCountTakesOverUntilItsEnd) {
  EXPECT_EQ(CountedDuring([] {
              EXPECT_EQ(CountedDuring([] { CountWork(); }), 1u);
              CountWork();
            }),
            1u);
}

TEST(WorkCounter, MegabytesWrittenReadAndSummedAreWork) {
  constexpr int64_t kMegabytes = 64;
  const testing::TemporaryFolder folder;
  const std::string path = folder / "file";
  const std::string bytes(kMegabytes << 20, 'x');
  EXPECT_GE(CountedDuring([&] {
              absl::StatusOr<FileWriter> writer = FileWriter::Create(path);
              ASSERT_TRUE(writer.ok());
              EXPECT_TRUE(writer->Write(bytes).ok());
            }),
            uint64_t{kMegabytes / 8});
  EXPECT_GE(CountedDuring(
                [&] { EXPECT_TRUE(ReadFile(path, kMegabytes << 20).ok()); }),
            uint64_t{kMegabytes / 8});
  EXPECT_GE(CountedDuring([&] {
              std::vector<std::byte> read(bytes.size());
              EXPECT_TRUE(InputFile::Open(path)->Read(0, read).ok());
            }),
            uint64_t{kMegabytes / 8});
  EXPECT_GE(CountedDuring([&] {
              const absl::StatusOr<MappedFile> mapped = MappedFile::Open(path);
              Crc32c(mapped->bytes());
            }),
            uint64_t{kMegabytes / 8});
  EXPECT_GE(CountedDuring([&] { Sha256(bytes.substr(0, 1 << 20)); }), 1u);
}

TEST(WorkCounter, EachFileIsWork) {
  const testing::TemporaryFolder folder;
  EXPECT_GE(
      CountedDuring([&] {
        for (int i = 0; i < 10; ++i) {
          EXPECT_TRUE(
              AtomicWrite(folder / ("file" + std::to_string(i)), "x").ok());
        }
        EXPECT_TRUE(RemoveTree(folder.path()).ok());
      }),
      20u);
}

TEST(WorkCounter, ACallThatIsInterruptedForEverIsNoWork) {
  const testing::TemporaryFolder folder;
  const sys::ScopedFaults faults("unlink:1-1000:EINTR");
  EXPECT_LE(
      CountedDuring([&] { EXPECT_TRUE(RemoveTree(folder / "none").ok()); }),
      1u);
  EXPECT_EQ(faults.num_hits(), 1000);
}

}  // namespace
}  // namespace lextra

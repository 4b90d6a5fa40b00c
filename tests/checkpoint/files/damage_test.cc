// What happens to a checkpoint on a bad disk or in careless hands: every damage
// is refused before a byte of it is used.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <random>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "checkpoint/files/checkpoint_copy.h"
#include "checkpoint/files/safetensors.h"
#include "checkpoint/files/shard_file.h"
#include "tests/checkpoint/files/files_of_test.h"
#include "tests/checkpoint/files/small_checkpoint.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class DamageTest : public FilesOfTest {
 protected:
  DamageTest() { SaveAs(Size::kTiny); }

  void SaveAs(Size size) {
    fs::remove_all(Path("step-00000010"));
    tensors_ = KnownTensors(size, 1);
    step_folder_ = SaveKnown(folder(), 10, tensors_).value();
    manifest_ = ReadManifest(step_folder_).value();
    files_ = {kManifestName};
    for (const ShardFile& file : manifest_.files()) {
      files_.push_back(file.name());
    }
  }

  std::string InStep(const std::string& name) const {
    return step_folder_ + "/" + name;
  }

  void FlipBit(const std::string& name, int64_t byte, int bit) {
    const int file = open(InStep(name).c_str(), O_RDWR | O_CLOEXEC);
    char value = 0;
    ASSERT_EQ(pread(file, &value, 1, byte), 1);
    value = static_cast<char>(value ^ (1 << bit));
    ASSERT_EQ(pwrite(file, &value, 1, byte), 1);
    close(file);
  }

  // What the error of a flip in `byte` must say in addition to the file's name.
  std::vector<std::string> PlaceOf(const std::string& name, int64_t byte) {
    for (int file = 0; file < manifest_.files_size(); ++file) {
      if (manifest_.files(file).name() != name) continue;
      if (byte < manifest_.files(file).header_bytes()) return {"header"};
      for (const TensorIndex& tensor : manifest_.tensors()) {
        for (const StoredBox& box : tensor.boxes()) {
          const int64_t begin = byte - box.file_offset();
          const int64_t size =
              BoxOf(box).num_elements() * *DtypeBytes(tensor.dtype());
          if (box.file() != file || begin < 0 || begin >= size) continue;
          return {absl::StrCat("tensor '", tensor.name(), "'"),
                  absl::StrCat("from byte ", byte - begin % kBlockBytes, " ")};
        }
      }
    }
    return {};
  }

  // The damage is refused as such, with the file's name and `parts`, and no
  // wrong byte is handed out.
  void ExpectRefused(const std::string& name,
                     const std::vector<std::string>& parts = {}) {
    const absl::Status status = VerifyCheckpoint(step_folder_).status();
    EXPECT_TRUE(IsDamaged(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(InStep(name)));
    for (const std::string& part : parts) {
      EXPECT_THAT(std::string(status.message()), HasSubstr(part));
    }
    EXPECT_FALSE(ReadKnown(step_folder_, tensors_).has_wrong);
  }

  std::vector<KnownTensor> tensors_;
  std::string step_folder_;
  Manifest manifest_;
  std::vector<std::string> files_;
};

int NumFlips() {
  int count = 10000;
  const char* text = std::getenv("LEXTRA_FLIPS");
  if (text != nullptr && !absl::SimpleAtoi(text, &count)) ADD_FAILURE();
  return count;
}

TEST_F(DamageTest, EveryFlippedBitIsRefusedAndItsPlaceNamed) {
  std::mt19937_64 random(2026);
  for (int i = 0; i < NumFlips() && !HasFailure(); ++i) {
    const std::string name = files_[random() % files_.size()];
    const int64_t byte =
        static_cast<int64_t>(random()) & std::numeric_limits<int64_t>::max();
    const int64_t place =
        byte % static_cast<int64_t>(fs::file_size(InStep(name)));
    const int bit = static_cast<int>(random() % 8);
    SCOPED_TRACE(absl::StrCat(name, " byte ", place, " bit ", bit));
    FlipBit(name, place, bit);
    ExpectRefused(name, PlaceOf(name, place));
    FlipBit(name, place, bit);
  }
  EXPECT_TRUE(IsWhole(step_folder_, tensors_));
}

TEST_F(DamageTest, AFlippedBitInALongBoxIsNamedByItsBlock) {
  SaveAs(Size::kSeveralMiB);
  std::mt19937_64 random(5);
  for (int i = 0; i < 30; ++i) {
    const std::string name = files_[1 + random() % kNumShards];
    const int64_t place = static_cast<int64_t>(
        random() % static_cast<uint64_t>(fs::file_size(InStep(name))));
    SCOPED_TRACE(absl::StrCat(name, " byte ", place));
    FlipBit(name, place, 3);
    ExpectRefused(name, PlaceOf(name, place));
    FlipBit(name, place, 3);
  }
  EXPECT_TRUE(IsWhole(step_folder_, tensors_));
}

TEST_F(DamageTest, EveryTruncationIsRefused) {
  SaveAs(Size::kSeveralMiB);
  std::mt19937_64 random(11);
  const std::string aside = Path("aside");
  for (const std::string& name : files_) {
    const int64_t size = static_cast<int64_t>(fs::file_size(InStep(name)));
    std::vector<int64_t> lengths = {1, size - 1};
    for (int64_t at = 0; at < size; at += 4096) lengths.push_back(at);
    for (int i = 0; i < 100; ++i) {
      lengths.push_back(static_cast<int64_t>(random() % size));
    }
    std::sort(lengths.rbegin(), lengths.rend());
    fs::copy_file(InStep(name), aside, fs::copy_options::overwrite_existing);
    for (const int64_t length : lengths) {
      fs::resize_file(InStep(name), length);
      SCOPED_TRACE(absl::StrCat(name, " cut to ", length));
      ExpectRefused(name);
    }
    fs::rename(aside, InStep(name));
  }
  EXPECT_TRUE(IsWhole(step_folder_, tensors_));
}

TEST_F(DamageTest, BytesBehindTheEndAreRefused) {
  for (const std::string& name : files_) {
    const uintmax_t size = fs::file_size(InStep(name));
    std::ofstream(InStep(name), std::ios::app) << 'x';
    ExpectRefused(name);
    fs::resize_file(InStep(name), size);
  }
  EXPECT_TRUE(IsWhole(step_folder_, tensors_));
}

TEST_F(DamageTest, SwappedShardsAndCopiesOfOneAreRefused) {
  const std::string aside = Path("aside");
  for (int a = 1; a <= kNumShards; ++a) {
    for (int b = 1; b <= kNumShards; ++b) {
      if (a == b) continue;
      SCOPED_TRACE(files_[a] + " and " + files_[b]);
      fs::copy_file(InStep(files_[a]), aside);
      fs::copy_file(InStep(files_[b]), InStep(files_[a]),
                    fs::copy_options::overwrite_existing);
      ExpectRefused(files_[a]);
      fs::rename(aside, InStep(files_[b]));
      ExpectRefused(files_[std::min(a, b)]);
      fs::copy_file(InStep(files_[a]), aside);
      fs::rename(InStep(files_[b]), InStep(files_[a]));
      fs::rename(aside, InStep(files_[b]));
    }
  }
  EXPECT_TRUE(IsWhole(step_folder_, tensors_));
}

// Mixes of two saves of one step differ in nothing but bytes and save ids.
TEST_F(DamageTest, ShardsOfTwoSavesOfOneStepDontMix) {
  for (const int seed : {1, 2}) {  // the same bytes, and others
    const std::string other_run = Path("other");
    const std::string other =
        SaveKnown(other_run, 10, KnownTensors(Size::kTiny, seed)).value();
    for (int mix = 1; mix < (1 << (kNumShards + 1)) - 1; ++mix) {
      SCOPED_TRACE(absl::StrCat("seed ", seed, " mix ", mix));
      const std::string mixed = Path("mixed");
      fs::copy(step_folder_, mixed);
      for (size_t i = 0; i < files_.size(); ++i) {
        if ((mix & (1 << i)) == 0) continue;
        fs::copy_file(other + "/" + files_[i], mixed + "/" + files_[i],
                      fs::copy_options::overwrite_existing);
      }
      EXPECT_TRUE(IsDamaged(VerifyCheckpoint(mixed).status()));
      EXPECT_TRUE(IsDamaged(ReadKnown(mixed, tensors_).status));
      fs::remove_all(mixed);
    }
    fs::remove_all(other_run);
  }
}

TEST_F(DamageTest, AMissingFileIsRefusedAndAStrangeOneIsNotLookedAt) {
  for (const std::string& name : files_) {
    fs::rename(InStep(name), Path("aside"));
    ExpectRefused(name);
    fs::rename(Path("aside"), InStep(name));
  }
  std::ofstream(InStep("notes.txt")) << "mine";
  std::ofstream(InStep("shard-00009-of-00003.safetensors")) << "junk";
  EXPECT_TRUE(IsWhole(step_folder_, tensors_));
}

TEST_F(DamageTest, WhatIsNotARegularFileIsRefusedAtOnce) {
  for (const std::string& name : files_) {
    SCOPED_TRACE(name);
    fs::rename(InStep(name), Path("aside"));
    fs::create_directory(InStep(name));
    ExpectRefused(name);
    fs::remove(InStep(name));
    ASSERT_EQ(mkfifo(InStep(name).c_str(), 0600), 0);
    ExpectRefused(name);
    fs::remove(InStep(name));
    fs::create_symlink(folder(), InStep(name));
    ExpectRefused(name);
    fs::remove(InStep(name));
    fs::rename(Path("aside"), InStep(name));
  }
  EXPECT_TRUE(IsWhole(step_folder_, tensors_));
}

TEST_F(DamageTest, LinksToWhatWasSavedAreFollowedAndToAnythingElseRefused) {
  for (const std::string& name : files_) {
    SCOPED_TRACE(name);
    fs::rename(InStep(name), Path("aside"));
    fs::create_symlink(Path("aside"), InStep(name));
    EXPECT_TRUE(IsWhole(step_folder_, tensors_));
    fs::remove(InStep(name));
    std::ofstream(Path("other"))
        << std::string(fs::file_size(Path("aside")), 0);
    fs::create_symlink(Path("other"), InStep(name));
    ExpectRefused(name);
    fs::remove(InStep(name));
    // Storage that is not mounted is no damage.
    fs::create_symlink(Path("nowhere"), InStep(name));
    const absl::Status status = VerifyCheckpoint(step_folder_).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint);
    EXPECT_FALSE(IsDamaged(status)) << status;
    EXPECT_THAT(std::string(status.message()),
                ::testing::AllOf(HasSubstr(InStep(name) + ": is a link to "),
                                 HasSubstr(Path("nowhere"))));
    EXPECT_FALSE(ReadKnown(step_folder_, tensors_).has_wrong);
    fs::remove(InStep(name));
    fs::rename(Path("aside"), InStep(name));
  }
  fs::rename(step_folder_, Path("elsewhere"));
  fs::create_symlink(Path("elsewhere"), step_folder_);
  EXPECT_TRUE(IsWhole(step_folder_, tensors_));
}

TEST_F(DamageTest, AnEmptyManifestOrFolderIsRefused) {
  std::ofstream(InStep(kManifestName), std::ios::trunc).close();
  ExpectRefused(kManifestName);
  fs::create_directory(Path("step-00000020"));
  EXPECT_TRUE(IsDamaged(VerifyCheckpoint(Path("step-00000020")).status()));
  // A folder whose shards have all lost their bytes, as power loss leaves it.
  for (const std::string& name : files_) {
    std::ofstream(InStep(name), std::ios::trunc).close();
  }
  ExpectRefused(kManifestName);
}

}  // namespace
}  // namespace lextra

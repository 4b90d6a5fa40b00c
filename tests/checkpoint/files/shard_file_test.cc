#include "checkpoint/files/shard_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/hash/crc32c.h"
#include "checkpoint/files/checkpoint_copy.h"
#include "checkpoint/files/shard_reader.h"
#include "tests/checkpoint/files/files_of_test.h"
#include "tests/checkpoint/files/small_checkpoint.h"

namespace lextra {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ShardFileTest : public FilesOfTest {
 protected:
  ShardFileTest() : tensors_(KnownTensors(Size::kSeveralMiB, 1)) {
    const absl::StatusOr<std::string> saved = SaveKnown(folder(), 7, tensors_);
    EXPECT_TRUE(saved.ok()) << saved.status();
    step_folder_ = *saved;
    manifest_ = ReadManifest(step_folder_).value();
  }

  const TensorIndex& IndexOf(const KnownTensor& tensor) {
    return **ShardReader(step_folder_, manifest_)
                 .Find(tensor.name, tensor.dtype, tensor.shape);
  }

  Box DrawBox(const std::vector<int64_t>& shape) {
    const auto draw = [this](int64_t first, int64_t last) {
      return std::uniform_int_distribution<int64_t>(first, last)(random_);
    };
    Box box;
    for (const int64_t extent : shape) {
      box.offset.push_back(draw(0, extent));
      box.shape.push_back(draw(0, extent - box.offset.back()));
    }
    return box;
  }

  std::vector<KnownTensor> tensors_;
  std::string step_folder_;
  Manifest manifest_;
  std::mt19937_64 random_{3};
};

TEST_F(ShardFileTest, ACheckpointIsTheBytesThatWereSaved) {
  EXPECT_TRUE(IsWhole(step_folder_, tensors_));
  EXPECT_EQ(manifest_.run_id(), "known-run");
  EXPECT_EQ(manifest_.state().step(), 7);
  EXPECT_EQ(manifest_.files_size(), kNumShards);
}

TEST_F(ShardFileTest, AnyBoxReadsAsItsElements) {
  ShardReader reader(step_folder_, manifest_);
  for (const KnownTensor& tensor : tensors_) {
    const bool large = tensor.bytes.size() > 10000;
    for (int i = 0; i < (large ? 15 : 100); ++i) {
      const Box wanted = DrawBox(tensor.shape);
      const std::vector<std::byte> expected = BytesOfBox(tensor, wanted);
      std::vector<std::byte> found(expected.size());
      ASSERT_EQ(reader.Read(IndexOf(tensor), wanted, found), absl::OkStatus());
      ASSERT_TRUE(found == expected) << tensor.name << " case " << i;
    }
  }
}

TEST_F(ShardFileTest, WholeBoxesTakeFiveHundredthsMoreThanTheyAreLong) {
  for (int file = 0; file < kNumShards; ++file) {
    ShardReader reader(step_folder_, manifest_);
    int64_t needed = 0;
    for (const TensorIndex& tensor : manifest_.tensors()) {
      for (const StoredBox& stored : tensor.boxes()) {
        if (stored.file() != file) continue;
        const Box box = BoxOf(stored);
        std::vector<std::byte> bytes(box.num_elements() *
                                     *DtypeBytes(tensor.dtype()));
        ASSERT_EQ(reader.Read(tensor, box, bytes), absl::OkStatus());
        needed += static_cast<int64_t>(bytes.size());
      }
    }
    EXPECT_GE(reader.bytes_read(), needed);
    EXPECT_LE(static_cast<double>(reader.bytes_read()),
              1.05 * static_cast<double>(needed));
  }
}

// Columns come in as many runs as there are rows, from blocks read once.
TEST_F(ShardFileTest, WholeTensorsTakeFiveHundredthsMoreThanTheyAreLong) {
  int64_t needed = 0;
  for (const KnownTensor& tensor : tensors_) {
    needed += static_cast<int64_t>(tensor.bytes.size());
  }
  const ReadResult result = ReadKnown(step_folder_, tensors_);
  EXPECT_GE(result.bytes_read, needed);
  EXPECT_LE(static_cast<double>(result.bytes_read),
            1.05 * static_cast<double>(needed));
}

TEST_F(ShardFileTest, OnlyTheBlocksOfTheWantedPlacesAreRead) {
  const KnownTensor& tall = tensors_[3];
  ShardReader reader(step_folder_, manifest_);
  std::vector<std::byte> row(1024);
  ASSERT_EQ(reader.Read(IndexOf(tall), {{1500, 0}, {1, 1024}}, row),
            absl::OkStatus());
  EXPECT_EQ(reader.bytes_read(),
            manifest_.files(0).header_bytes() + kBlockBytes);
}

TEST_F(ShardFileTest, EachShardIsASafetensorsFileWithTheManifestsPlaces) {
  size_t num_found = 0;
  for (int file = 0; file < kNumShards; ++file) {
    const auto shard = SafetensorsFile::Open(step_folder_ + "/" +
                                             manifest_.files(file).name());
    ASSERT_TRUE(shard.ok()) << shard.status();
    EXPECT_EQ(shard->metadata().at("save_id"), manifest_.save_id());
    EXPECT_EQ(shard->header_bytes(), manifest_.files(file).header_bytes());
    num_found += shard->tensors().size();
    for (const TensorIndex& tensor : manifest_.tensors()) {
      for (const StoredBox& stored : tensor.boxes()) {
        if (stored.file() != file) continue;
        const Box box = BoxOf(stored);
        const TensorEntry* entry =
            shard->Find(StoredName(tensor.name(), box.offset));
        ASSERT_NE(entry, nullptr) << tensor.name();
        EXPECT_EQ(entry->dtype, tensor.dtype());
        EXPECT_EQ(entry->shape, box.shape);
        EXPECT_EQ(entry->file_offset, stored.file_offset());
        EXPECT_EQ(Crc32c(shard->Bytes(*entry)), stored.crc32c());
        --num_found;
      }
    }
  }
  EXPECT_EQ(num_found, 0u);  // and nothing that the manifest doesn't have
}

TEST_F(ShardFileTest, EveryMiBOfALongBoxHasItsChecksum) {
  const StoredBox& stored = IndexOf(tensors_[3]).boxes(0);
  ASSERT_EQ(stored.block_crc32c_size(), 3);
  const std::span<const std::byte> bytes = tensors_[3].bytes;
  EXPECT_EQ(BlockCrc32c(stored, 0), Crc32c(bytes.first(kBlockBytes)));
  EXPECT_EQ(BlockCrc32c(stored, 1),
            Crc32c(bytes.subspan(kBlockBytes, kBlockBytes)));
  EXPECT_EQ(BlockCrc32c(stored, 2), Crc32c(bytes.subspan(2 * kBlockBytes)));
  const StoredBox& scalar = IndexOf(tensors_.back()).boxes(0);
  EXPECT_EQ(BlockCrc32c(scalar, 0), Crc32c(tensors_.back().bytes));
}

TEST_F(ShardFileTest, ATensorOfAnotherKindIsRefusedWithBothSides) {
  const ShardReader reader(step_folder_, manifest_);
  EXPECT_THAT(
      std::string(reader.Find("rows", "F32", {10, 12}).status().message()),
      AllOf(HasSubstr("'rows'"), HasSubstr("F32 [12, 10]"),
            HasSubstr("F32 [10, 12]")));
  const absl::Status missing = reader.Find("none", "F32", {1}).status();
  EXPECT_FALSE(IsDamaged(missing));
  EXPECT_THAT(std::string(missing.message()),
              AllOf(HasSubstr("'none'"), HasSubstr("F32 [1]")));
}

TEST(ShardImage, AHeaderIsAsLongForEverySaveId) {
  const ShardImage image({{"w", "F32", {4, 4}, {Box::Whole({4, 4})}}});
  EXPECT_EQ(image.Header(std::string(32, 'a')).size(),
            image.Header(std::string(32, '0')).size());
  EXPECT_NE(image.Header(std::string(32, 'a')),
            image.Header(std::string(32, '0')));
}

TEST_F(ShardFileTest, ASaveWithABoxThatNoRankWroteIsNotCommitted) {
  std::vector<KnownTensor> holed = tensors_;
  holed[0].boxes[1].clear();
  const absl::Status status = SaveKnown(folder(), 8, holed).status();
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("'rows'"), HasSubstr("cover 80 of the 120")));
  EXPECT_FALSE(std::filesystem::exists(Path("step-00000008")));
}

TEST_F(ShardFileTest, AStepThatExistsIsNotReplaced) {
  const absl::Status status =
      SaveKnown(folder(), 7, KnownTensors(Size::kTiny, 2)).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint);
  EXPECT_FALSE(IsDamaged(status));
  EXPECT_TRUE(IsWhole(step_folder_, tensors_));
}

TEST_F(ShardFileTest, ASaveThatFindsNoPlaceForItselfBeginsNothing) {
  const absl::Status status = BeginSave(folder(), 8, int64_t{1} << 60).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("bytes free, but a checkpoint needs"));
  EXPECT_FALSE(std::filesystem::exists(Path(".tmp-8")));
}

}  // namespace
}  // namespace lextra

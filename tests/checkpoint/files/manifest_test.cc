#include "checkpoint/files/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <string>

#include "absl/strings/str_cat.h"
#include "checkpoint/files/shard_file.h"
#include "checkpoint/files/step_folders.h"
#include "tests/checkpoint/files/files_of_test.h"

namespace lextra {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

StoredBox MakeBox(std::vector<int64_t> offset, std::vector<int64_t> shape,
                  int file, int64_t file_offset) {
  StoredBox box;
  box.mutable_offset()->Assign(offset.begin(), offset.end());
  box.mutable_shape()->Assign(shape.begin(), shape.end());
  box.set_file(file);
  box.set_file_offset(file_offset);
  return box;
}

// F32 [4, 6] as two row halves in two files of 64 bytes, and a scalar.
Manifest GoodManifest() {
  Manifest manifest;
  manifest.set_format_version(kManifestVersion);
  manifest.set_save_id("77");
  manifest.mutable_state()->set_step(100);
  for (const char* name : {"a.safetensors", "b.safetensors"}) {
    manifest.add_files()->set_name(name);
    manifest.mutable_files()->rbegin()->set_bytes(64);
  }
  manifest.mutable_files(0)->set_header_bytes(8);
  manifest.mutable_files(1)->set_header_bytes(16);
  TensorIndex* weight = manifest.add_tensors();
  weight->set_name("weight");
  weight->set_dtype("F32");
  weight->add_shape(4);
  weight->add_shape(6);
  *weight->add_boxes() = MakeBox({0, 0}, {2, 6}, 0, 8);
  *weight->add_boxes() = MakeBox({2, 0}, {2, 6}, 1, 16);
  TensorIndex* scalar = manifest.add_tensors();
  scalar->set_name("scalar");
  scalar->set_dtype("I64");
  *scalar->add_boxes() = MakeBox({}, {}, 0, 56);
  return manifest;
}

class ManifestTest : public FilesOfTest {
 protected:
  // Writes the manifest and its files, and reads them back.
  absl::StatusOr<Manifest> Read(const Manifest& manifest) {
    std::filesystem::remove(Path(kManifestName));
    EXPECT_TRUE(WriteManifest(folder(), manifest).ok());
    for (const char* name : {"a.safetensors", "b.safetensors"}) {
      if (!std::filesystem::exists(Path(name))) Put(name, std::string(64, 'x'));
    }
    return ReadManifest(folder());
  }

  // The error of the good manifest after `damage`.
  std::string ErrorAfter(const std::function<void(Manifest*)>& damage) {
    Manifest manifest = GoodManifest();
    damage(&manifest);
    return ErrorOf(Read(manifest));
  }

  std::string ErrorOf(const absl::StatusOr<Manifest>& read) {
    if (read.ok()) return "accepted";
    EXPECT_EQ(ExitCodeOf(read.status()), ExitCode::kCheckpoint);
    EXPECT_THAT(std::string(read.status().message()), HasSubstr(folder()));
    return std::string(read.status().message());
  }
};

TEST_F(ManifestTest, ReadsBackWhatWasWritten) {
  const absl::StatusOr<Manifest> read = Read(GoodManifest());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->SerializeAsString(), GoodManifest().SerializeAsString());
}

TEST_F(ManifestTest, MissingManifestIsNamed) {
  EXPECT_THAT(ErrorOf(ReadManifest(folder())),
              AllOf(HasSubstr("no readable checkpoint in"),
                    HasSubstr("MANIFEST.json: No such file")));
}

TEST_F(ManifestTest, RefusesWhatIsNotAManifest) {
  Put(kManifestName, "{\"format_version\": 1, \"save");
  EXPECT_THAT(ErrorOf(ReadManifest(folder())), HasSubstr("not a manifest"));
  Put(kManifestName, "{\"format_version\": 1, \"color\": 3}");
  EXPECT_THAT(ErrorOf(ReadManifest(folder())), HasSubstr("color"));
  Put(kManifestName, "{\"format_version\": 2}");
  EXPECT_THAT(ErrorOf(ReadManifest(folder())),
              HasSubstr("its digest is missing"));
  Put(kManifestName, "{\"color\": 3}");
  EXPECT_THAT(ErrorOf(ReadManifest(folder())),
              HasSubstr("format version is 0, expected at least 1"));
}

TEST_F(ManifestTest, ANewerVersionIsRefusedByNameAndIsNotDamage) {
  Manifest newer = GoodManifest();
  newer.set_format_version(kManifestVersion + 1);
  newer.set_min_reader_version(kManifestVersion + 1);
  newer.set_program("lextra 9.9");
  const absl::Status status = ParseManifest(ManifestText(newer)).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint);
  EXPECT_FALSE(IsDamaged(status));
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("format version is 3"), HasSubstr("lextra 9.9"),
                    HasSubstr("reads versions up to 2")));
  // One that says that we may read it has fields that we don't know.
  newer.set_min_reader_version(kManifestVersion);
  EXPECT_TRUE(ParseManifest(ManifestText(newer)).ok());
}

TEST_F(ManifestTest, AnyFlippedBitOrMissingByteOfTheTextIsDamage) {
  const std::string text = ManifestText(GoodManifest());
  ASSERT_TRUE(ParseManifest(text).ok());
  const auto accepted = [](const std::string& damaged) {
    const absl::StatusOr<Manifest> manifest = ParseManifest(damaged);
    if (manifest.ok()) return true;
    EXPECT_TRUE(IsDamaged(manifest.status())) << manifest.status();
    return false;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    EXPECT_FALSE(accepted(text.substr(0, i))) << "cut off at " << i;
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = text;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
      EXPECT_FALSE(accepted(flipped)) << "byte " << i << " bit " << bit;
    }
  }
  EXPECT_FALSE(accepted(text + " "));
}

TEST_F(ManifestTest, RefusesBlocksWithoutChecksums) {
  EXPECT_THAT(
      ErrorAfter([](Manifest* manifest) {
        manifest->mutable_tensors(0)->mutable_boxes(0)->add_block_crc32c(1);
      }),
      HasSubstr("of 1 blocks has 1 block checksums"));
}

TEST_F(ManifestTest, RefusesFilesThatAreMissingOrOfAnotherSize) {
  ASSERT_TRUE(Read(GoodManifest()).ok());
  std::filesystem::resize_file(Path("b.safetensors"), 63);
  EXPECT_THAT(ErrorOf(ReadManifest(folder())),
              HasSubstr("b.safetensors: 63 bytes, but the manifest says 64"));
  std::filesystem::remove(Path("b.safetensors"));
  EXPECT_THAT(ErrorOf(ReadManifest(folder())),
              HasSubstr("b.safetensors: missing, but listed"));
  std::filesystem::create_directory(Path("b.safetensors"));
  EXPECT_THAT(ErrorOf(ReadManifest(folder())),
              HasSubstr("b.safetensors: not a regular file"));
  std::filesystem::remove(Path("b.safetensors"));
  // Links are what they lead to.
  std::filesystem::create_symlink(folder(), Path("b.safetensors"));
  EXPECT_THAT(ErrorOf(ReadManifest(folder())),
              HasSubstr("b.safetensors: not a regular file"));
  std::filesystem::remove(Path("b.safetensors"));
  std::filesystem::create_symlink(Path("elsewhere"), Path("b.safetensors"));
  EXPECT_THAT(ErrorOf(ReadManifest(folder())),
              HasSubstr("b.safetensors: is a link to " + Path("elsewhere")));
  Put("elsewhere", std::string(64, 'b'));
  EXPECT_TRUE(Read(GoodManifest()).ok());
}

TEST_F(ManifestTest, RefusesNamesThatLeaveTheFolder) {
  for (const std::string name : {"../a.safetensors", "/etc/passwd",
                                 "x/a.safetensors", "..", ".", ".hidden", ""}) {
    EXPECT_THAT(ErrorAfter([&name](Manifest* manifest) {
                  manifest->mutable_files(0)->set_name(name);
                }),
                AllOf(HasSubstr(absl::StrCat("'", name, "'")),
                      HasSubstr("not a plain name")));
  }
  EXPECT_THAT(ErrorAfter([](Manifest* manifest) {
                manifest->mutable_files(0)->set_name("b.safetensors");
              }),
              HasSubstr("is a duplicate"));
}

TEST_F(ManifestTest, RefusesBoxesThatDoNotTileTheirTensor) {
  const auto with_second = [this](const StoredBox& box) {
    return ErrorAfter([&box](Manifest* manifest) {
      *manifest->mutable_tensors(0)->mutable_boxes(1) = box;
    });
  };
  EXPECT_THAT(with_second(MakeBox({2, 0}, {1, 6}, 1, 16)),
              AllOf(HasSubstr("'weight'"), HasSubstr("cover 18 of the 24")));
  EXPECT_THAT(with_second(MakeBox({1, 0}, {2, 6}, 1, 16)),
              AllOf(HasSubstr("'weight'"), HasSubstr("overlap")));
  for (const StoredBox& outside :
       {MakeBox({3, 0}, {2, 6}, 1, 16), MakeBox({-1, 0}, {2, 6}, 1, 16),
        MakeBox({2, 0}, {-2, 6}, 1, 16), MakeBox({2, 0}, {0, 6}, 1, 16),
        MakeBox({2}, {2, 6}, 1, 16), MakeBox({2, 0, 0}, {2, 6, 1}, 1, 16),
        MakeBox({int64_t{1} << 62, 0}, {int64_t{1} << 62, 6}, 1, 16)}) {
    EXPECT_THAT(with_second(outside), HasSubstr("is not within shape"));
  }
  EXPECT_THAT(ErrorAfter([](Manifest* manifest) {
                *manifest->mutable_tensors(1)->add_boxes() =
                    MakeBox({}, {}, 1, 0);
              }),
              AllOf(HasSubstr("'scalar'"), HasSubstr("overlap")));
  EXPECT_THAT(ErrorAfter([](Manifest* manifest) {
                manifest->mutable_tensors(1)->clear_boxes();
              }),
              AllOf(HasSubstr("'scalar'"), HasSubstr("cover 0 of the 1")));
}

TEST_F(ManifestTest, RefusesBoxesOutsideTheirFile) {
  const auto placed = [this](int file, int64_t file_offset) {
    return ErrorAfter([=](Manifest* manifest) {
      StoredBox* box = manifest->mutable_tensors(0)->mutable_boxes(1);
      box->set_file(file);
      box->set_file_offset(file_offset);
    });
  };
  EXPECT_EQ(placed(1, 16), "accepted");
  EXPECT_THAT(placed(1, 12), HasSubstr("leave gaps or overlap"));
  EXPECT_THAT(placed(1, 6), HasSubstr("aligned within the 64 bytes"));
  EXPECT_THAT(placed(1, 20), HasSubstr("aligned within the 64 bytes"));
  EXPECT_THAT(placed(1, -4), HasSubstr("aligned within the 64 bytes"));
  EXPECT_THAT(placed(1, int64_t{1} << 62), HasSubstr("aligned within"));
  EXPECT_THAT(placed(2, 16), HasSubstr("is in file 2 of 2"));
  EXPECT_THAT(placed(-1, 16), HasSubstr("is in file -1 of 2"));
}

TEST_F(ManifestTest, RefusesTensorsThatCannotBe) {
  EXPECT_THAT(ErrorAfter([](Manifest* manifest) {
                manifest->mutable_tensors(0)->set_dtype("F33");
              }),
              AllOf(HasSubstr("'weight'"), HasSubstr("dtype 'F33'")));
  EXPECT_THAT(ErrorAfter([](Manifest* manifest) {
                manifest->mutable_tensors(0)->set_shape(0, int64_t{1} << 62);
              }),
              HasSubstr("negative or too large"));
  EXPECT_THAT(ErrorAfter([](Manifest* manifest) {
                manifest->mutable_tensors(1)->set_name("weight");
                *manifest->mutable_tensors(1) = manifest->tensors(0);
              }),
              HasSubstr("'weight': duplicate name"));
}

TEST_F(ManifestTest, ManySlicesAreCheckedQuickly) {
  // Column slices of a wide matrix: a check of all pairs would take minutes.
  constexpr int kSlices = 100'000;
  Manifest manifest = GoodManifest();
  TensorIndex* tensor = manifest.add_tensors();
  tensor->set_name("wide");
  tensor->set_dtype("U8");
  tensor->add_shape(1);
  tensor->add_shape(kSlices);
  ShardFile* file = manifest.add_files();
  file->set_name("c.safetensors");
  file->set_header_bytes(8);
  file->set_bytes(8 + kSlices);
  for (int i = 0; i < kSlices; ++i) {
    *tensor->add_boxes() = MakeBox({0, i}, {1, 1}, 2, 8 + i);
  }
  EXPECT_TRUE(CheckManifest(manifest).ok());
  tensor->mutable_boxes(7)->set_offset(1, 8);
  EXPECT_THAT(std::string(CheckManifest(manifest).message()),
              HasSubstr("overlap"));
}

TEST_F(ManifestTest, ListsStepFoldersByNumberAndNothingElse) {
  for (const char* name :
       {"step-00000100", "step-00000020", "step-100000000", ".tmp-300-77",
        ".trash-step-00000010", "step-", "step-x", "step--5", "eval"}) {
    std::filesystem::create_directory(Path(name));
  }
  Put("step-00000400", "a file");
  const absl::StatusOr<std::vector<std::string>> folders =
      ListCheckpoints(folder());
  ASSERT_TRUE(folders.ok()) << folders.status();
  EXPECT_THAT(*folders,
              ElementsAre(Path("step-00000020"), Path("step-00000100"),
                          Path("step-100000000")));
  EXPECT_EQ(ExitCodeOf(ListCheckpoints(Path("nowhere")).status()),
            ExitCode::kInput);
  EXPECT_EQ(StepOf("run/step-00000100/"), 100);
}

TEST_F(ManifestTest, FindsTheNewestStepOrTheFolderItself) {
  EXPECT_THAT(std::string(FindCheckpoint(folder()).status().message()),
              HasSubstr("no checkpoint: expected a MANIFEST.json"));
  EXPECT_EQ(ExitCodeOf(FindCheckpoint(Path("nowhere")).status()),
            ExitCode::kCheckpoint);
  std::filesystem::create_directory(Path("step-00000100"));
  std::filesystem::create_directory(Path("step-00000020"));
  EXPECT_EQ(*FindCheckpoint(folder()), Path("step-00000100"));
  Put("step-00000020/MANIFEST.json", "{}");
  EXPECT_EQ(*FindCheckpoint(Path("step-00000020")), Path("step-00000020"));
}

TEST(StoredName, IsPlainAtTheOriginOnly) {
  EXPECT_EQ(StoredName("w", {0, 0}), "w");
  EXPECT_EQ(StoredName("w", {}), "w");
  EXPECT_EQ(StoredName("w", {64, 0}), "w[64,0]");
}

}  // namespace
}  // namespace lextra

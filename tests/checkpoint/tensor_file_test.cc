#include "checkpoint/tensor_file.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/testing/golden.h"

namespace lextra {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFolder;

std::string BytesOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

NamedTensors OneOfEachKind() {
  return {{"float", at::arange(12, at::kFloat).view({3, 4}) / 7},
          {"double", at::scalar_tensor(1.0 / 3, at::kDouble)},
          {"half", at::arange(5, at::kHalf)},
          {"bfloat", at::arange(5, at::kBFloat16)},
          {"long", at::arange(-2, 3, at::kLong)},
          {"int", at::arange(3, at::kInt)},
          {"byte", at::arange(3, at::kByte)},
          {"bool", at::arange(3, at::kLong) > 0},
          {"empty", at::empty({0, 4}, at::kFloat)},
          {"transposed", at::arange(12, at::kDouble).view({3, 4}).t()},
          {"trains", at::ones({2, 2}).set_requires_grad(true)}};
}

TEST(TensorFile, EveryStoredDtypeComesBackBitEqual) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/a.safetensors";
  const NamedTensors tensors = OneOfEachKind();
  ASSERT_TRUE(WriteTensorFile(path, tensors).ok());
  const absl::StatusOr<NamedTensors> read = ReadTensorFile(path);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(read->at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(read->at(name), tensor)) << name;
  }
}

TEST(TensorFile, WritingReplacesTheFileAndLeavesNothingElse) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/a.safetensors";
  ASSERT_TRUE(WriteTensorFile(path, {{"a", at::zeros(3)}}).ok());
  ASSERT_TRUE(WriteTensorFile(path, {{"b", at::ones(2)}}).ok());
  EXPECT_TRUE(at::equal(ReadTensorFile(path)->at("b"), at::ones(2)));
  const std::filesystem::directory_iterator entries(folder.path());
  EXPECT_EQ(std::distance(entries, {}), 1);
}

TEST(TensorFile, FailedWriteNamesThePathAndLeavesNothing) {
  const TemporaryFolder folder;
  const absl::Status nowhere =
      WriteTensorFile(folder.path() + "/no/a.safetensors", OneOfEachKind());
  EXPECT_EQ(ExitCodeOf(nowhere), ExitCode::kStorage);
  EXPECT_THAT(std::string(nowhere.message()), HasSubstr("no/a.safetensors"));
  std::filesystem::create_directories(folder.path() + "/b/c");
  const absl::Status taken =
      WriteTensorFile(folder.path() + "/b", OneOfEachKind());
  EXPECT_EQ(ExitCodeOf(taken), ExitCode::kStorage);
  const std::filesystem::directory_iterator entries(folder.path());
  EXPECT_EQ(std::distance(entries, {}), 1);
}

TEST(TensorFile, GoldenFilesAreWrittenAsTheReferenceLibraryWroteThem) {
  const TemporaryFolder folder;
  const std::string golden =
      testing::GoldenPath("decoder_preln_weights.safetensors");
  const absl::StatusOr<NamedTensors> tensors = ReadTensorFile(golden);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  const std::string path = folder.path() + "/a.safetensors";
  ASSERT_TRUE(
      WriteNewTensorFile(path, {{"training_length", "32"}}, *tensors).ok());
  EXPECT_EQ(BytesOf(path), BytesOf(golden));
}

TEST(TensorFile, DtypesThatWeDoNotStoreAreNamed) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/a.safetensors";
  std::string header =
      R"({"x":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}   )";
  std::ofstream(path, std::ios::binary)
      << static_cast<char>(header.size()) << std::string(7, '\0') << header
      << 'x';
  EXPECT_THAT(std::string(ReadTensorFile(path).status().message()),
              HasSubstr("tensor 'x': unsupported dtype F8_E4M3"));
  EXPECT_THROW(DtypeName(at::kComplexFloat), c10::Error);
}

}  // namespace
}  // namespace lextra

#include "checkpoint/files/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/checkpoint/files/files_of_test.h"

namespace lextra {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// A file of this header, padded as given, and `num_bytes` of data.
std::string FileBytes(std::string header, int num_bytes,
                      int64_t stated_length = -1) {
  const uint64_t length = stated_length < 0 ? header.size() : stated_length;
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  bytes += header;
  for (int i = 0; i < num_bytes; ++i) bytes.push_back(static_cast<char>(i));
  return bytes;
}

class SafetensorsTest : public FilesOfTest {
 protected:
  std::string ErrorOf(const std::string& bytes) {
    const absl::StatusOr<SafetensorsFile> file =
        SafetensorsFile::Open(Put("a.safetensors", bytes));
    EXPECT_FALSE(file.ok());
    if (file.ok()) return "accepted";
    EXPECT_EQ(ExitCodeOf(file.status()), ExitCode::kInput);
    EXPECT_THAT(std::string(file.status().message()),
                HasSubstr(Path("a.safetensors")));
    return std::string(file.status().message());
  }
};

TEST_F(SafetensorsTest, ReadsAFileMadeByHand) {
  const std::string header =
      R"({"__metadata__":{"k":"v"},"b":{"dtype":"U8","shape":[3],)"
      R"("data_offsets":[8,11]},"a":{"dtype":"F32","shape":[1,2],)"
      R"("data_offsets":[0,8]},"none":{"dtype":"I64","shape":[2,0],)"
      R"("data_offsets":[8,8]}}  )";
  const absl::StatusOr<SafetensorsFile> file =
      SafetensorsFile::Open(Put("a.safetensors", FileBytes(header, 11)));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->metadata().at("k"), "v");
  ASSERT_EQ(file->tensors().size(), 3u);
  const TensorEntry* b = file->Find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->dtype, "U8");
  EXPECT_THAT(b->shape, ElementsAre(3));
  EXPECT_THAT(file->Bytes(*b),
              ElementsAre(std::byte{8}, std::byte{9}, std::byte{10}));
  EXPECT_EQ(file->Find("a")->num_bytes, 8);
  EXPECT_EQ(file->Find("none")->num_bytes, 0);
  EXPECT_EQ(file->Find("c"), nullptr);
}

TEST_F(SafetensorsTest, RefusesLengthsThatTheFileDoesNotHave) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("0 bytes, expected at least 8"));
  EXPECT_THAT(ErrorOf("1234567"), HasSubstr("7 bytes"));
  EXPECT_THAT(ErrorOf(FileBytes("{}", 0, 3)),
              HasSubstr("header length is 3, expected at most 2"));
  EXPECT_THAT(ErrorOf(FileBytes("{}", 0, 100'000'001)),
              HasSubstr("header length is 100000001"));
  EXPECT_THAT(ErrorOf(std::string(8, '\xff') + "{}"),
              HasSubstr("header length is 18446744073709551615"));
}

TEST_F(SafetensorsTest, RefusesHeadersThatAreNotTheOneObject) {
  EXPECT_THAT(ErrorOf(FileBytes(" {}", 0)), HasSubstr("begin with '{'"));
  EXPECT_THAT(ErrorOf(FileBytes("[]", 0)), HasSubstr("begin with '{'"));
  EXPECT_THAT(ErrorOf(FileBytes("{}\n", 0)), HasSubstr("end with '}'"));
  EXPECT_THAT(ErrorOf(FileBytes("{} {}", 0)), HasSubstr("not JSON"));
  EXPECT_THAT(ErrorOf(FileBytes("{\"a\xff\":{}}", 0)), HasSubstr("not JSON"));
  EXPECT_THAT(ErrorOf(FileBytes("{\"a\":1}", 0)),
              HasSubstr("entry 'a' is a number, expected an object"));
  EXPECT_THAT(ErrorOf(FileBytes("{\"a\":[[[[", 0)), HasSubstr("'}'"));
  EXPECT_THAT(ErrorOf(FileBytes(R"({"__metadata__":{"k":1}})", 0)),
              HasSubstr("field 'k' is a number, expected a string"));
}

TEST_F(SafetensorsTest, RefusesRepeatedNames) {
  const std::string a =
      R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  EXPECT_THAT(ErrorOf(FileBytes("{" + a + "," + a + "}", 1)),
              HasSubstr("entry 'a' is a duplicate"));
  EXPECT_THAT(
      ErrorOf(FileBytes(R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],)"
                        R"("data_offsets":[0,1]}})",
                        1)),
      HasSubstr("duplicate field 'dtype'"));
}

// An error of one entry: `fields` of tensor "a" over `num_bytes` of data.
#define EXPECT_ENTRY_ERROR(fields, num_bytes, error)                 \
  EXPECT_THAT(ErrorOf(FileBytes("{\"a\":{" fields "}}", num_bytes)), \
              AllOf(HasSubstr("'a'"), HasSubstr(error)))

TEST_F(SafetensorsTest, RefusesEntriesThatDisagreeWithThemselves) {
  EXPECT_ENTRY_ERROR(R"("dtype":"U8","shape":[1])", 1,
                     "has only the fields {dtype, shape}");
  EXPECT_ENTRY_ERROR(R"("dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1)",
                     1, "unknown field 'x'");
  EXPECT_ENTRY_ERROR(R"("dtype":"f32","shape":[1],"data_offsets":[0,4])", 4,
                     "unknown dtype 'f32'");
  EXPECT_ENTRY_ERROR(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])", 4,
                     "field 'shape' is the number -1");
  EXPECT_ENTRY_ERROR(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])", 4,
                     "field 'shape' is the number 1.0");
  EXPECT_ENTRY_ERROR(R"("dtype":"F32","shape":[[1]],"data_offsets":[0,4])", 4,
                     "field 'shape' is a list");
  EXPECT_ENTRY_ERROR(R"("dtype":{},"shape":[1],"data_offsets":[0,4])", 4,
                     "field 'dtype' is an object");
  EXPECT_ENTRY_ERROR(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])", 4,
                     "span 4 bytes, but F32 [2] needs 8");
  EXPECT_ENTRY_ERROR(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,4])", 4,
                     "data_offsets has 3 numbers");
  EXPECT_ENTRY_ERROR(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])", 4,
                     "is not a range");
  EXPECT_ENTRY_ERROR(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])", 3,
                     "within the 3 bytes of data");
  EXPECT_ENTRY_ERROR(
      R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])",
      0, "too large");
}

TEST_F(SafetensorsTest, RefusesWhatWouldTakeMemoryOutOfProportion) {
  std::string ones = "1";
  for (int i = 0; i < 64; ++i) ones += ",1";
  EXPECT_THAT(ErrorOf(FileBytes("{\"a\":{\"dtype\":\"U8\",\"shape\":[" + ones +
                                    "],\"data_offsets\":[0,1]}}",
                                1)),
              HasSubstr("entry 'a' field 'shape' has more than 64 numbers"));
  const std::string header = "{}" + std::string((size_t{8} << 20) - 1, ' ');
  EXPECT_THAT(ErrorOf(FileBytes(header, 0)),
              HasSubstr("header length is 8388609, expected at most 8388608"));
}

TEST_F(SafetensorsTest, AHostileNameStaysOnTheErrorsLine) {
  EXPECT_THAT(ErrorOf(FileBytes(R"({"a\n\u001b":{"dtype":"Q8","shape":[],)"
                                R"("data_offsets":[0,0]}})",
                                0)),
              HasSubstr(R"(tensor 'a\x0a\x1b': unknown dtype 'Q8')"));
}

TEST_F(SafetensorsTest, RefusesHolesOverlapsAndRests) {
  const auto two = [](int begin, int end) {
    return absl::StrCat(R"({"a":{"dtype":"U8","shape":[2],)",
                        R"("data_offsets":[0,2]},"b":{"dtype":"U8",)",
                        R"("shape":[)", end - begin, R"(],"data_offsets":[)",
                        begin, ",", end, "]}}");
  };
  EXPECT_THAT(ErrorOf(FileBytes(two(3, 4), 4)),
              AllOf(HasSubstr("'b'"), HasSubstr("begin at offset 3"),
                    HasSubstr("expected 2")));
  EXPECT_THAT(ErrorOf(FileBytes(two(1, 4), 4)), HasSubstr("begin at offset 1"));
  EXPECT_THAT(ErrorOf(FileBytes(two(2, 4), 5)),
              HasSubstr("its tensors end at byte"));
  EXPECT_TRUE(SafetensorsFile::Open(Put("good", FileBytes(two(2, 4), 4))).ok());
}

TEST_F(SafetensorsTest, LaysOutLargerElementsFirstAndAligned) {
  std::vector<TensorEntry> tensors = {
      {.name = "flag", .dtype = "BOOL", .shape = {3}},
      {.name = "b", .dtype = "F32", .shape = {}},
      {.name = "a", .dtype = "F32", .shape = {2, 3}},
      {.name = "half", .dtype = "BF16", .shape = {5}},
      {.name = "count", .dtype = "I64", .shape = {1}}};
  std::string bytes = LayOutSafetensors({{"save_id", "77"}}, &tensors);
  EXPECT_EQ(bytes.size() % 8, 0u);
  EXPECT_THAT(bytes.substr(8),
              StartsWith(R"({"__metadata__":{"save_id":"77"},"count":)"));
  std::vector<std::string> order;
  for (const TensorEntry& tensor : tensors) {
    order.push_back(tensor.name);
    EXPECT_EQ(tensor.file_offset, static_cast<int64_t>(bytes.size()));
    EXPECT_EQ(tensor.file_offset % *DtypeBytes(tensor.dtype), 0);
    bytes.append(tensor.num_bytes, '\1');
  }
  EXPECT_THAT(order, ElementsAre("count", "a", "b", "half", "flag"));
  const absl::StatusOr<SafetensorsFile> file =
      SafetensorsFile::Open(Put("out", bytes));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->metadata().at("save_id"), "77");
  EXPECT_EQ(file->Find("half")->file_offset, tensors[3].file_offset);
  EXPECT_EQ(file->Find("b")->num_bytes, 4);
}

// Valid and hostile files with the verdicts of the format's own library.
TEST_F(SafetensorsTest, AgreesWithTheReferenceOnItsCorpus) {
  const char* source = std::getenv("LEXTRA_SOURCE_DIR");
  const std::string corpus = std::string(source != nullptr ? source : ".") +
                             "/../shared/interop/safetensors_corpus";
  if (!std::filesystem::exists(corpus)) {
    GTEST_SKIP() << "no corpus in " << corpus;
  }
  const nlohmann::json expected =
      nlohmann::json::parse(std::ifstream(corpus + "/expected.json"));
  int num_judged = 0;
  for (const auto& [name, verdict] : expected["cases"].items()) {
    const absl::StatusOr<SafetensorsFile> file =
        SafetensorsFile::Open(absl::StrCat(corpus, "/", name, ".safetensors"));
    SCOPED_TRACE(
        absl::StrCat(name, ": ", verdict["note"].dump(), ": ",
                     file.ok() ? "accepted" : file.status().message()));
    if (verdict["expected"] == "either") continue;
    ++num_judged;
    EXPECT_EQ(file.ok(), verdict["expected"] == "accept");
    if (!file.ok()) continue;
    EXPECT_EQ(file->tensors().size(), verdict["tensors"].size());
    for (const auto& [tensor, stated] : verdict["tensors"].items()) {
      const TensorEntry* entry = file->Find(tensor);
      ASSERT_NE(entry, nullptr) << tensor;
      EXPECT_EQ(entry->dtype, stated["dtype"]);
      EXPECT_EQ(entry->shape, stated["shape"].get<std::vector<int64_t>>());
    }
    if (verdict["metadata"].is_object()) {
      EXPECT_EQ(file->metadata(), verdict["metadata"].get<Metadata>());
    }
  }
  EXPECT_GT(num_judged, 80);
}

}  // namespace
}  // namespace lextra

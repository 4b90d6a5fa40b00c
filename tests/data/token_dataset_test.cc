#include "data/token_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/data/token_files.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Index;
using testing::IndexParts;
using testing::Meta;
using testing::TemporaryFolder;
using testing::Tokens;
using testing::WriteText;

class TokenDatasetTest : public ::testing::Test {
 protected:
  absl::StatusOr<TokenDataset> Open(const std::string& idx,
                                    const std::string& bin,
                                    const std::string& meta) {
    WriteText(prefix_ + ".idx", idx);
    WriteText(prefix_ + ".bin", bin);
    WriteText(prefix_ + ".meta.json", meta);
    return TokenDataset::Open(prefix_);
  }
  // Two documents: 3 tokens and 2 tokens of uint16.
  absl::StatusOr<TokenDataset> OpenWith(const IndexParts& index) {
    return Open(index.Bytes(), Tokens({5, 6, 256, 7, 256}, 2),
                Meta(257, 256, 2, 5));
  }
  void ExpectRefused(const IndexParts& index, const std::string& words) {
    const absl::Status status = OpenWith(index).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(prefix_), HasSubstr(words)));
  }

  const TemporaryFolder folder_;
  const std::string prefix_ = folder_.path() + "/data";
  const IndexParts good_ = Index({3, 2}, 2, 8);
};

std::vector<int64_t> Read(const TokenDataset& dataset, int64_t document,
                          int64_t begin, int64_t count) {
  std::vector<int64_t> tokens(count);
  const absl::Status status = dataset.Read(document, begin, tokens);
  EXPECT_TRUE(status.ok()) << status;
  return tokens;
}

// The whole index spelled out, so that a mistake in the helper can't hide.
TEST_F(TokenDatasetTest, ReadsAnIndexWrittenByHand) {
  const std::string idx(
      "MMIDIDX\0\0"
      "\1\0\0\0\0\0\0\0"  // version
      "\x08"              // uint16
      "\2\0\0\0\0\0\0\0"  // sequences
      "\3\0\0\0\0\0\0\0"  // document entries
      "\3\0\0\0\2\0\0\0"  // lengths
      "\0\0\0\0\0\0\0\0"
      "\6\0\0\0\0\0\0\0"  // offsets
      "\0\0\0\0\0\0\0\0"
      "\1\0\0\0\0\0\0\0"
      "\2\0\0\0\0\0\0\0",  // documents
      82);
  EXPECT_EQ(idx, good_.Bytes());
  const auto dataset =
      Open(idx, std::string("\5\0\6\0\0\1\7\0\0\1", 10), Meta(257, 256, 2, 5));
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->num_documents(), 2);
  EXPECT_EQ(dataset->num_tokens(), 5);
  EXPECT_EQ(dataset->document_begin(0), 0);
  EXPECT_EQ(dataset->document_begin(1), 3);
  EXPECT_THAT(Read(*dataset, 0, 0, 3), ElementsAre(5, 6, 256));
  EXPECT_THAT(Read(*dataset, 0, 1, 1), ElementsAre(6));
  EXPECT_THAT(Read(*dataset, 1, 0, 2), ElementsAre(7, 256));
  EXPECT_THAT(Read(*dataset, 1, 2, 0), ElementsAre());
  EXPECT_EQ(dataset->meta().tokenizer, "byte");
  EXPECT_EQ(dataset->meta().vocab_size, 257);
  EXPECT_EQ(dataset->meta().eos_id, 256);
  EXPECT_EQ(dataset->meta().bytes, 3);
}

TEST_F(TokenDatasetTest, OpensByPrefixOrEitherFile) {
  ASSERT_TRUE(OpenWith(good_).ok());
  for (const std::string suffix : {".bin", ".idx"}) {
    const auto dataset = TokenDataset::Open(prefix_ + suffix);
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    EXPECT_EQ(dataset->prefix(), prefix_);
  }
}

TEST_F(TokenDatasetTest, ReadsEveryTokenTypeThatHoldsIds) {
  for (const auto& [type, item_bytes] :
       {std::pair(1, 1), std::pair(2, 1), std::pair(3, 2), std::pair(4, 4),
        std::pair(5, 8), std::pair(8, 2)}) {
    const auto dataset =
        Open(Index({3, 2}, item_bytes, type).Bytes(),
             Tokens({5, 6, 100, 127, 100}, item_bytes), Meta(128, 100, 2, 5));
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    EXPECT_THAT(Read(*dataset, 1, 0, 2), ElementsAre(127, 100)) << type;
  }
}

TEST_F(TokenDatasetTest, JoinsTheSequencesOfADocument) {
  const auto dataset = Open(Index({1, 2, 0, 2}, 2, 8, {0, 2, 2, 4}).Bytes(),
                            Tokens({1, 2, 3, 4, 5}, 2), Meta(257, 256, 3, 5));
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(Read(*dataset, 0, 0, 3), ElementsAre(1, 2, 3));
  EXPECT_EQ(dataset->document_size(1), 0);
  EXPECT_THAT(Read(*dataset, 2, 0, 2), ElementsAre(4, 5));
}

TEST_F(TokenDatasetTest, AcceptsTheModesOfMultimodalFiles) {
  IndexParts index = good_;
  index.rest = std::string(2, '\0');
  EXPECT_TRUE(OpenWith(index).ok());
  index.rest = std::string(1, '\0');
  ExpectRefused(index,
                "83 bytes, but 2 sequences and 3 document entries need 82");
}

TEST_F(TokenDatasetTest, OpensADatasetWithoutDocuments) {
  const auto dataset = Open(Index({}, 2, 8).Bytes(), "", Meta(257, 256, 0, 0));
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->num_documents(), 0);
  EXPECT_EQ(dataset->num_tokens(), 0);
}

TEST_F(TokenDatasetTest, RefusesAnIndexCutOffAnywhere) {
  const std::string idx = good_.Bytes();
  for (size_t size = 0; size < idx.size(); ++size) {
    const absl::Status status =
        Open(idx.substr(0, size), Tokens({5, 6, 256, 7, 256}, 2),
             Meta(257, 256, 2, 5))
            .status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput) << size;
    EXPECT_THAT(std::string(status.message()), HasSubstr(".idx: ")) << size;
  }
}

TEST_F(TokenDatasetTest, RefusesATruncatedBinAndOneTooLong) {
  for (const std::string& bin :
       {Tokens({5, 6, 256, 7, 256}, 2).substr(0, 9), Tokens({5}, 2),
        std::string(), Tokens({5, 6, 256, 7, 256, 1}, 2)}) {
    const absl::Status status =
        Open(good_.Bytes(), bin, Meta(257, 256, 2, 5)).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("data.bin: "),
                      HasSubstr(absl::StrCat(bin.size(), " bytes"))));
  }
}

TEST_F(TokenDatasetTest, RefusesAWrongHeader) {
  IndexParts index = good_;
  index.magic[0] = 'N';
  ExpectRefused(index, "does not begin with MMIDIDX");
  index = good_;
  index.version = 2;
  ExpectRefused(index, "version is 2, expected 1");
  for (const auto& [type, words] :
       {std::pair(6, "6 (float64)"), std::pair(7, "7 (float32)"),
        std::pair(0, "type is 0"), std::pair(9, "type is 9"),
        std::pair(255, "type is 255")}) {
    index = good_;
    index.type = type;
    ExpectRefused(index, words);
  }
}

// None of these counts may be used before it is checked: the sizes that follow
// from them overflow, or ask for more memory than there is.
TEST_F(TokenDatasetTest, RefusesCountsThatLie) {
  for (const uint64_t count : {0, 1, 3}) {
    IndexParts index = good_;
    index.sequences = count;
    ExpectRefused(index, "82 bytes, but ");
    index = good_;
    index.document_entries = count + 1;
    if (count + 1 != 3) ExpectRefused(index, "82 bytes, but ");
  }
  // The last two are right modulo 2^64: 12 S or 8 D bytes.
  for (const uint64_t count :
       {uint64_t{1} << 32, uint64_t{1} << 63, UINT64_MAX,
        (uint64_t{1} << 62) + 2, (uint64_t{1} << 61) + 3}) {
    IndexParts index = good_;
    index.sequences = count;
    ExpectRefused(index, "which do not fit into 82 bytes");
    index = good_;
    index.document_entries = count;
    ExpectRefused(index, "which do not fit into 82 bytes");
  }
  ExpectRefused(IndexParts(), "0 document entries (at least 1)");
}

TEST_F(TokenDatasetTest, RefusesArraysThatContradictEachOther) {
  IndexParts index = good_;
  index.lengths = {-3, 2};
  ExpectRefused(index, "length of sequence 0 is -3");
  index = good_;
  index.offsets = {0, 4};
  ExpectRefused(index, "sequence 1 begins at byte 4, expected 6");
  index = good_;
  index.offsets = {2, 6};
  ExpectRefused(index, "sequence 0 begins at byte 2, expected 0");
  index = good_;
  index.lengths = {3, INT32_MAX};
  ExpectRefused(index, "10 bytes");
  for (const std::vector<int64_t>& documents : {std::vector<int64_t>{1, 1, 2},
                                                {0, 2, 1},
                                                {0, -1, 2},
                                                {0, 1, 3},
                                                {0, INT64_MAX, 2},
                                                {0, 1, 1}}) {
    index = good_;
    index.documents = documents;
    ExpectRefused(index, "document entry");
  }
}

TEST_F(TokenDatasetTest, RefusesAnIdOutsideTheVocabularyWhenItIsOpened) {
  for (const auto& [tokens, words] :
       {std::pair<std::vector<int64_t>, std::string>{
            {5, 6, 256, 257, 7}, "document 1, position 0: token id 257 is"},
        {{5, 6, -1, 7, 7}, "document 0, position 2: token id -1 is"}}) {
    const absl::Status status = Open(Index({3, 2}, 4, 4).Bytes(),
                                     Tokens(tokens, 4), Meta(257, 256, 2, 5))
                                    .status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("data.bin"), HasSubstr(words),
                      HasSubstr("outside the vocabulary [0, 257)")));
  }
}

// Of a large file some pages are looked at when it is opened, the others when
// they are read.
TEST_F(TokenDatasetTest, RefusesAnIdOutsideTheVocabularyOfALargeFile) {
  constexpr int32_t kTokens = 1 << 19;
  constexpr int32_t kPageStep = kTokens / 64;
  std::vector<int64_t> tokens(kTokens, 7);
  const std::string idx = Index({kTokens - 10, 10}, 4, 4).Bytes();
  const std::string meta = Meta(257, 256, 2, kTokens);
  tokens[5 * kPageStep + 1000] = 257;
  const absl::Status seen = Open(idx, Tokens(tokens, 4), meta).status();
  EXPECT_THAT(std::string(seen.message()),
              HasSubstr(absl::StrCat("document 0, position ",
                                     5 * kPageStep + 1000, ": token id 257")));
  tokens[5 * kPageStep + 1000] = 7;
  tokens[5 * kPageStep + 2000] = -3;
  const auto dataset = Open(idx, Tokens(tokens, 4), meta);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  std::vector<int64_t> out(5 * kPageStep + 2001);
  const absl::Status read = dataset->Read(0, 0, out);
  EXPECT_EQ(ExitCodeOf(read), ExitCode::kInput);
  EXPECT_THAT(std::string(read.message()),
              HasSubstr(absl::StrCat("document 0, position ",
                                     5 * kPageStep + 2000, ": token id -3")));
  EXPECT_EQ(dataset->CheckIds(0, kTokens), read);
  EXPECT_TRUE(dataset->CheckIds(0, 5 * kPageStep + 2000).ok());
  EXPECT_TRUE(dataset->Read(1, 0, std::span(out).first(10)).ok());
}

TEST_F(TokenDatasetTest, RefusesAVocabularyThatItsTypeCannotHold) {
  for (const auto& [type, item_bytes, most, name] :
       {std::tuple(1, 1, 256, "uint8"), std::tuple(2, 1, 128, "int8"),
        std::tuple(3, 2, 32768, "int16"), std::tuple(8, 2, 65536, "uint16")}) {
    const std::string idx = Index({1}, item_bytes, type).Bytes();
    const std::string bin = Tokens({5}, item_bytes);
    EXPECT_TRUE(Open(idx, bin, Meta(most, most - 1, 1, 1)).ok()) << name;
    const absl::Status status =
        Open(idx, bin, Meta(most + 1, most, 1, 1)).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
    EXPECT_THAT(
        std::string(status.message()),
        AllOf(HasSubstr("data.meta.json: vocab_size"),
              HasSubstr(absl::StrCat("stored as ", name,
                                     ", which holds ids below ", most, ": "))));
  }
}

// Also within the last page, where no bus error tells.
TEST_F(TokenDatasetTest, ReadingFailsOnceAFileWasTruncated) {
  for (const std::string suffix : {".bin", ".idx"}) {
    const auto dataset = OpenWith(good_);
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    std::vector<int64_t> out(3);
    EXPECT_TRUE(dataset->Read(0, 0, out).ok());
    const std::string path = prefix_ + suffix;
    const auto size = std::filesystem::file_size(path);
    std::filesystem::resize_file(path, size - 1);
    const absl::Status status = dataset->Read(0, 0, out);
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(absl::StrCat(path, ": truncated while in use: ",
                                       size - 1, " bytes, ", size)));
  }
}

TEST_F(TokenDatasetTest, RefusesReadsBeyondADocument) {
  const auto dataset = OpenWith(good_);
  ASSERT_TRUE(dataset.ok());
  std::vector<int64_t> out(2);
  EXPECT_FALSE(dataset->Read(0, 2, out).ok());
  EXPECT_FALSE(dataset->Read(0, -1, out).ok());
  EXPECT_FALSE(dataset->Read(0, INT64_MAX, out).ok());
  EXPECT_FALSE(dataset->Read(2, 0, out).ok());
  EXPECT_FALSE(dataset->Read(-1, 0, out).ok());
}

TEST_F(TokenDatasetTest, SaysHowToMakeAMissingMeta) {
  ASSERT_TRUE(OpenWith(good_).ok());
  std::filesystem::remove(prefix_ + ".meta.json");
  const absl::Status status = TokenDataset::Open(prefix_).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("data.meta.json: No such file"),
                    HasSubstr("`lextra prepare` writes it"),
                    HasSubstr("\"documents\": 2, \"tokens\": 5")));
}

TEST_F(TokenDatasetTest, NamesAMissingFile) {
  const absl::Status status = TokenDataset::Open(prefix_).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
  EXPECT_THAT(std::string(status.message()), HasSubstr(prefix_ + ".idx: No"));
}

TEST_F(TokenDatasetTest, RefusesAMetaThatDoesNotFit) {
  const std::string good = Meta(257, 256, 2, 5);
  const auto with = [&good](const std::string& from, const std::string& to) {
    std::string text = good;
    return text.replace(text.find(from), from.size(), to);
  };
  for (const auto& [meta, words] :
       {std::pair<std::string, std::string>{"", "not a JSON object"},
        {"[]", "not a JSON object"},
        {good.substr(0, good.size() - 1), "not a JSON object"},
        {with("\"byte\"", "5"), "'tokenizer': expected a string"},
        {with("tokenizer_sha256", "sha"), "'tokenizer_sha256': expected"},
        {with("257", "-257"), "'vocab_size': expected a non-negative integer"},
        {with("257", "257.5"), "'vocab_size': expected a non-negative integer"},
        {with("257", "18446744073709551615"), "'vocab_size': expected"},
        {with("257", "256"), "expected eos_id < vocab_size"},
        {with("257", "2147483648"), "expected eos_id < vocab_size < 2^31"},
        {with("\"documents\": 2", "\"documents\": 3"), "3 documents and 5"},
        {with("\"tokens\": 5", "\"tokens\": 6"), "2 documents and 6"},
        {with("\"eos_id\"", "\"eos_id\": 1, \"eos_id\""),
         "duplicate key 'eos_id'"},
        {with("257", "[257]"), "'vocab_size': expected a non-negative integer"},
        {std::string(10'000, '['), "not a JSON object"},
        {good + std::string(1 << 16, ' '), "expected at most 65536"}}) {
    const absl::Status status =
        Open(good_.Bytes(), Tokens({5, 6, 256, 7, 256}, 2), meta).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput) << meta;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("data.meta.json: "), HasSubstr(words)));
  }
}

}  // namespace
}  // namespace lextra

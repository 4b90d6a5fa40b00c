#include "data/token_file_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "tests/data/token_files.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Index;
using testing::ReadText;
using testing::TemporaryFolder;
using testing::Tokens;
using ::testing::UnorderedElementsAre;

using Document = std::vector<int32_t>;

std::unique_ptr<TokenFileWriter> MakeWriter(
    const std::string& prefix, int64_t vocab_size, int64_t eos_id,
    const std::vector<Document>& documents) {
  auto writer = TokenFileWriter::Create(prefix, {.tokenizer = "byte",
                                                 .tokenizer_sha256 = "",
                                                 .vocab_size = vocab_size,
                                                 .eos_id = eos_id});
  EXPECT_TRUE(writer.ok()) << writer.status();
  for (const Document& document : documents) {
    EXPECT_TRUE((*writer)->Append(document).ok());
    EXPECT_TRUE((*writer)->EndDocument(std::ssize(document)).ok());
  }
  return *std::move(writer);
}

absl::Status CommitAlone(const std::unique_ptr<TokenFileWriter>& writer) {
  TokenFileWriter* const writers[] = {writer.get()};
  return TokenFileWriter::Commit(writers);
}

std::vector<std::string> Names(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename());
  }
  return names;
}

std::vector<int64_t> Read(const TokenDataset& dataset, int64_t document) {
  std::vector<int64_t> tokens(dataset.document_size(document));
  EXPECT_TRUE(dataset.Read(document, 0, tokens).ok());
  return tokens;
}

TEST(TokenFileWriter, WritesTheFormatByteByByte) {
  const TemporaryFolder folder;
  const std::string prefix = folder.path() + "/sub/data";
  ASSERT_TRUE(
      CommitAlone(MakeWriter(prefix, 257, 256, {{1, 2, 3}, {}, {255}})).ok());
  EXPECT_EQ(ReadText(prefix + ".bin"),
            Tokens({1, 2, 3, 256, 256, 255, 256}, 2));
  EXPECT_EQ(ReadText(prefix + ".idx"), Index({4, 1, 2}, 2, 8).Bytes());
  EXPECT_EQ(ReadText(prefix + ".meta.json"), R"({
  "tokenizer": "byte",
  "tokenizer_sha256": "",
  "vocab_size": 257,
  "eos_id": 256,
  "documents": 3,
  "tokens": 7,
  "bytes": 4
}
)");
  EXPECT_THAT(Names(folder.path() + "/sub"),
              UnorderedElementsAre("data.bin", "data.digest.json", "data.idx",
                                   "data.meta.json"));
}

TEST(TokenFileWriter, TakesFourBytesFromAVocabularyOf65500) {
  for (const auto& [vocab_size, type, item_bytes] :
       {std::tuple(65499, 8, 2), std::tuple(65500, 4, 4)}) {
    const TemporaryFolder folder;
    const std::string prefix = folder.path() + "/data";
    const int eos = vocab_size - 1;
    ASSERT_TRUE(
        CommitAlone(MakeWriter(prefix, vocab_size, eos, {{7}, {8}})).ok());
    EXPECT_EQ(ReadText(prefix + ".bin"), Tokens({7, eos, 8, eos}, item_bytes));
    EXPECT_EQ(ReadText(prefix + ".idx"),
              Index({2, 2}, item_bytes, type).Bytes());
    const auto dataset = TokenDataset::Open(prefix);
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    EXPECT_THAT(Read(*dataset, 1), ElementsAre(8, eos));
  }
}

TEST(TokenFileWriter, KeepsTokensInOrderBeyondItsBuffers) {
  const TemporaryFolder folder;
  const std::string prefix = folder.path() + "/data";
  auto writer = MakeWriter(prefix, 60000, 59999, {});
  std::vector<int64_t> expected;
  Document piece;
  for (int64_t i = 0; i < 3'000'001; ++i) {  // 6 MB: more than one buffer
    expected.push_back(i * 7919 % 50000);
    piece.push_back(static_cast<int32_t>(expected.back()));
    if (piece.size() < 77777) continue;
    ASSERT_TRUE(writer->Append(piece).ok());
    piece.clear();
  }
  ASSERT_TRUE(writer->Append(piece).ok());
  ASSERT_TRUE(writer->EndDocument(1).ok());
  expected.push_back(59999);
  ASSERT_TRUE(CommitAlone(writer).ok());
  const auto dataset = TokenDataset::Open(prefix);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_TRUE(Read(*dataset, 0) == expected);
}

TEST(TokenFileWriter, LeavesNothingWithoutCommit) {
  const TemporaryFolder folder;
  { const auto writer = MakeWriter(folder.path() + "/data", 257, 256, {{1}}); }
  EXPECT_THAT(Names(folder.path()), ElementsAre());
}

TEST(TokenFileWriter, LeavesTheOldDatasetUntilCommit) {
  const TemporaryFolder folder;
  const std::string prefix = folder.path() + "/data";
  ASSERT_TRUE(CommitAlone(MakeWriter(prefix, 257, 256, {{1, 2}})).ok());
  {
    const auto abandoned = MakeWriter(prefix, 257, 256, {{3, 4}});
    EXPECT_THAT(Read(*TokenDataset::Open(prefix), 0), ElementsAre(1, 2, 256));
  }
  EXPECT_THAT(Read(*TokenDataset::Open(prefix), 0), ElementsAre(1, 2, 256));
  const TokenDataset mapped = *TokenDataset::Open(prefix);
  ASSERT_TRUE(CommitAlone(MakeWriter(prefix, 257, 256, {{3, 4}})).ok());
  EXPECT_THAT(Read(*TokenDataset::Open(prefix), 0), ElementsAre(3, 4, 256));
  // A job that has the old one open reads on in the old one.
  EXPECT_THAT(Read(mapped, 0), ElementsAre(1, 2, 256));
}

// Commit stops between its renames where a name is taken by a folder; the same
// happens when the process is killed there.
TEST(TokenFileWriter, ACommitThatStopsHalfwayLeavesNoDatasetThatOpens) {
  for (const std::string blocked : {".bin", ".meta.json"}) {
    const TemporaryFolder folder;
    const std::string prefix = folder.path() + "/data";
    ASSERT_TRUE(CommitAlone(MakeWriter(prefix, 257, 256, {{1, 2}})).ok());
    std::filesystem::remove(prefix + blocked);
    std::filesystem::create_directories(prefix + blocked + "/in the way");
    const absl::Status status =
        CommitAlone(MakeWriter(prefix, 257, 256, {{3, 4}}));
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(prefix + blocked));
    EXPECT_FALSE(std::filesystem::exists(prefix + ".idx"));
    EXPECT_FALSE(TokenDataset::Open(prefix).ok());
    for (const std::string& name : Names(folder.path())) {
      EXPECT_THAT(name, ::testing::Not(HasSubstr("tmp"))) << blocked;
    }
  }
}

TEST(TokenFileWriter, RefusesAFolderThatCantBeMade) {
  const TemporaryFolder folder;
  testing::WriteText(folder.path() + "/file", "x");
  const absl::Status status =
      TokenFileWriter::Create(folder.path() + "/file/data", {}).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/file"));
}

}  // namespace
}  // namespace lextra

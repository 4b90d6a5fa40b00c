#include "data/prepare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "data/token_dataset.h"
#include "tests/data/token_files.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TemporaryFolder;
using testing::WriteText;

class PrepareTest : public ::testing::Test {
 protected:
  PrepareTest() {
    std::filesystem::create_directories(folder_.path() + "/in");
    options_.inputs = {folder_.path() + "/in"};
    options_.output = folder_.path() + "/out/corpus";
  }
  void AddFile(const std::string& name, const std::string& text) {
    WriteText(folder_.path() + "/in/" + name, text);
  }
  TokenDataset Open(const std::string& split) {
    auto dataset = TokenDataset::Open(options_.output + "-" + split);
    EXPECT_TRUE(dataset.ok()) << dataset.status();
    return *std::move(dataset);
  }
  std::string ExpectRefused(ExitCode code) {
    const absl::Status status = Prepare(options_).status();
    EXPECT_EQ(ExitCodeOf(status), code) << status;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(
             folder_.path() + "/out", ignored)) {
      ADD_FAILURE() << "left behind: " << entry.path();
    }
    return std::string(status.message());
  }

  const TemporaryFolder folder_;
  PrepareOptions options_;
};

std::set<std::string> Texts(const TokenDataset& dataset) {
  std::set<std::string> texts;
  for (int64_t d = 0; d < dataset.num_documents(); ++d) {
    std::vector<int64_t> tokens(dataset.document_size(d));
    EXPECT_TRUE(dataset.Read(d, 0, tokens).ok());
    EXPECT_EQ(tokens.back(), 256);
    texts.emplace(tokens.begin(), tokens.end() - 1);
  }
  return texts;
}

TEST_F(PrepareTest, WritesEveryDocumentToOneSideOfTheSplit) {
  std::set<std::string> texts;
  for (int i = 0; i < 300; ++i) {
    const std::string text =
        absl::StrCat("document ", i, std::string(i * i, 'x'), i);
    AddFile(absl::StrCat(i, ".txt"), text);
    texts.insert(text);
  }
  const auto summary = Prepare(options_);
  ASSERT_TRUE(summary.ok()) << summary.status();
  std::set<std::string> train = Texts(Open("train"));
  const std::set<std::string> validation = Texts(Open("validation"));
  EXPECT_EQ(train.size() + validation.size(), 300u);
  EXPECT_NEAR(validation.size(), 30, 20);  // 10 %; four deviations
  train.insert(validation.begin(), validation.end());
  EXPECT_EQ(train, texts);
  EXPECT_EQ(summary->read.text_files, 300);
  EXPECT_EQ(summary->validation.documents, std::ssize(validation));
  EXPECT_EQ(summary->train.tokens,
            summary->train.bytes + summary->train.documents);
  EXPECT_EQ(Open("train").meta().bytes, summary->train.bytes);
}

// One id for a whole document, its length: cut in pieces it would be several.
class LengthTokenizer : public ByteTokenizer {
 public:
  std::string name() const override { return "length"; }
  std::string sha256() const override { return std::string(64, 'a'); }
  int64_t vocab_size() const override { return 1 << 20; }
  int64_t eos_id() const override { return 0; }
  absl::Status Encode(std::string_view document, IdSink sink) const override {
    const auto id = static_cast<int32_t>(document.size());
    return sink({&id, 1});
  }
};

TEST_F(PrepareTest, ATokenizerGetsWholeDocuments) {
  WriteText(folder_ / "in/long.txt", std::string(100000, 'x'));
  options_.inputs = {folder_ / "in/long.txt"};
  options_.tokenizer = std::make_shared<LengthTokenizer>();
  options_.validation_fraction = 0;
  ASSERT_TRUE(Prepare(options_).ok());
  const auto dataset = TokenDataset::Open(options_.output + "-train");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->meta().tokenizer, "length");
  EXPECT_EQ(dataset->meta().tokenizer_sha256, std::string(64, 'a'));
  ASSERT_EQ(dataset->num_documents(), 1);
  std::vector<int64_t> ids(2);
  ASSERT_TRUE(dataset->Read(0, 0, ids).ok());
  EXPECT_EQ(ids, (std::vector<int64_t>{100000, 0}));
}

TEST_F(PrepareTest, SplitDependsOnTheTextAlone) {
  for (int i = 0; i < 100; ++i) {
    AddFile(absl::StrCat(i, ".txt"), absl::StrCat("text ", i));
    // A copy under another name and in another format.
    AddFile(absl::StrCat(i, "-copy.jsonl"),
            absl::StrCat("{\"text\": \"text ", i, "\"}\n"));
  }
  options_.validation_fraction = 0.5;
  ASSERT_TRUE(Prepare(options_).ok());
  const std::set<std::string> train = Texts(Open("train"));
  const std::set<std::string> validation = Texts(Open("validation"));
  EXPECT_EQ(train.size() + validation.size(), 100u);
  EXPECT_GT(train.size(), 25u);
  EXPECT_GT(validation.size(), 25u);
  EXPECT_EQ(Open("train").num_documents(), 2 * std::ssize(train));
}

TEST_F(PrepareTest, SplitPointIsUniformAndFixed) {
  std::vector<int> tenths(10);
  for (int i = 0; i < 10000; ++i) {
    ++tenths[static_cast<int>(10 * SplitPoint(absl::StrCat("text ", i)))];
  }
  for (const int count : tenths) EXPECT_NEAR(count, 1000, 150);
  // A text and the same with bytes 0 behind it are two texts.
  EXPECT_NE(SplitPoint("a"), SplitPoint(std::string_view("a\0", 2)));
  // Data sets of one corpus must not change sides between versions.
  EXPECT_DOUBLE_EQ(SplitPoint("The quick brown fox"), 0.095083781667613221);
}

TEST_F(PrepareTest, AtFractionsZeroAndOneTheOtherSideStaysAsItWas) {
  AddFile("a", "a");
  AddFile("b", "b");
  options_.validation_fraction = 1;
  absl::StatusOr<PrepareSummary> summary = Prepare(options_);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(Open("validation").num_documents(), 2);
  EXPECT_FALSE(TokenDataset::Open(options_.output + "-train").ok());
  EXPECT_THAT(SummaryText(*summary),
              HasSubstr("Wrote " + options_.output + "-validation (.bin"));
  AddFile("c", "c");
  options_.validation_fraction = 0;
  summary = Prepare(options_);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(Open("train").num_documents(), 3);
  EXPECT_EQ(Open("validation").num_documents(), 2);
  EXPECT_THAT(SummaryText(*summary),
              HasSubstr("Wrote " + options_.output + "-train (.bin"));
}

TEST_F(PrepareTest, LeavesOutEmptyAndShortDocuments) {
  AddFile("empty", "");
  AddFile("short", "123");
  AddFile("enough", "1234");
  options_.min_document_bytes = 4;
  options_.validation_fraction = 0;
  const auto summary = Prepare(options_);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->empty_documents, 1);
  EXPECT_EQ(summary->short_documents, 1);
  EXPECT_THAT(Texts(Open("train")), ElementsAre("1234"));
}

TEST_F(PrepareTest, SummarySaysWhatIsThere) {
  AddFile("a", "x");                  // 2 tokens with eos
  AddFile("b", "\xEF\xBB\xBFzyx");    // 4 tokens
  AddFile("c", std::string(7, 'x'));  // 8 tokens
  AddFile("d", "");
  AddFile(".e", "hidden");
  options_.validation_fraction = 0;
  const auto summary = Prepare(options_);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->train.documents_of_size[0], 0);
  EXPECT_EQ(summary->train.documents_of_size[1], 1);
  EXPECT_EQ(summary->train.documents_of_size[2], 1);
  EXPECT_EQ(summary->train.documents_of_size[3], 1);
  EXPECT_THAT(
      SummaryText(*summary),
      AllOf(HasSubstr("Read 4 files: 3 documents"),
            HasSubstr("Skipped: 1 hidden entry\n"), Not(HasSubstr("Formats:")),
            HasSubstr("Skipped: 1 document without text\n"),
            HasSubstr("Removed: byte order mark of 1 file\n"),
            HasSubstr("train                3              14              11"),
            HasSubstr("          8 - 15                   1            0\n")));
}

TEST_F(PrepareTest, SummarySaysWhatWasReadAndSkipped) {
  AddFile("a.txt", "text");
  AddFile("b.jsonl",
          "{\"text\": \"a\\u0000\"}\nno\n{\"text\": \"b\"}\n{\"body\": 1}\n");
  AddFile("c.zst", "\x28\xB5\x2F\xFD\x04");
  AddFile("d.txt", std::string(70'000, 'x') + '\0');  // found when it is read
  AddFile("e.txt", "a caf\xe9 with a bill in Latin-1");
  options_.inputs.push_back(options_.inputs[0] + "/a.txt");
  options_.validation_fraction = 0;
  options_.read.skip_bad_lines = true;
  options_.read.skip_other_formats = true;
  const auto summary = Prepare(options_);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->binary_documents, 1);
  EXPECT_EQ(summary->other_encodings, 1);
  EXPECT_THAT(
      SummaryText(*summary),
      AllOf(HasSubstr("Read 3 files: 4 documents"),
            HasSubstr("Formats: 2 files of text, 1 file of JSON lines; "
                      "0 of them gzip-compressed\n"),
            HasSubstr("Skipped: 1 duplicate file, 1 file of binary "
                      "data, 1 file of zstd data\n"),
            HasSubstr("Skipped: 2 bad lines, first:\n  " + options_.inputs[0] +
                      "/b.jsonl:2: not valid JSON"),
            HasSubstr("b.jsonl:4: no key 'text'")));
}

TEST_F(PrepareTest, ASecondRunReadsNotWhatTheFirstWrote) {
  AddFile("a.txt", "text");
  options_.output = folder_.path() + "/in/corpus";
  options_.validation_fraction = 0;
  for (int run = 0; run < 2; ++run) {
    const auto summary = Prepare(options_);
    ASSERT_TRUE(summary.ok()) << summary.status();
    EXPECT_EQ(summary->skipped.token_data, 4 * run);
    EXPECT_THAT(Texts(Open("train")), ElementsAre("text"));
    EXPECT_EQ(Open("train").num_documents(), 1);
  }
}

TEST_F(PrepareTest, LeavesNothingBehindWhenAskedToStop) {
  for (int i = 0; i < 5; ++i)
    AddFile(absl::StrCat(i), std::string(100'000, 'x'));
  // At every point at which it asks.
  int64_t stop_at = 0;
  absl::Status status;
  do {
    int64_t asked = 0;
    options_.stop_requested = [&] { return ++asked > stop_at; };
    status = Prepare(options_).status();
    if (status.ok()) break;
    ASSERT_EQ(ExitCodeOf(status), ExitCode::kPreempted) << status;
    ASSERT_EQ(ExpectRefused(ExitCode::kPreempted), status.message());
    ++stop_at;
  } while (stop_at < 1000);
  EXPECT_TRUE(status.ok());
  EXPECT_GT(stop_at, 15);
}

TEST_F(PrepareTest, RefusesAnEmptyCorpus) {
  AddFile("a", "");
  AddFile("b", "x");
  options_.min_document_bytes = 2;
  EXPECT_THAT(ExpectRefused(ExitCode::kInput),
              AllOf(HasSubstr(options_.inputs[0]), HasSubstr("no document"),
                    HasSubstr("1 without text, 1 shorter")));
}

TEST_F(PrepareTest, LeavesNothingBehindABadLine) {
  std::string jsonl;
  for (int i = 0; i < 1000; ++i) jsonl += "{\"text\": \"some text\"}\n";
  AddFile("a.jsonl", jsonl + "{\"text\": 5}\n");
  EXPECT_THAT(ExpectRefused(ExitCode::kInput), HasSubstr("a.jsonl:1001: "));
}

TEST_F(PrepareTest, LeavesTheOldDatasetAfterAnError) {
  AddFile("a.jsonl", "{\"text\": \"old\"}");
  options_.validation_fraction = 0;
  ASSERT_TRUE(Prepare(options_).ok());
  AddFile("a.jsonl", "{\"text\": \"new\"}\n{\"text\": ");
  ASSERT_FALSE(Prepare(options_).ok());
  EXPECT_THAT(Texts(Open("train")), ElementsAre("old"));
}

TEST_F(PrepareTest, RefusesAMissingInput) {
  options_.inputs = {folder_.path() + "/none.txt"};
  EXPECT_THAT(ExpectRefused(ExitCode::kInput),
              HasSubstr("/none.txt: No such file"));
}

TEST_F(PrepareTest, RefusesAnOutputFolderThatCantBeWritten) {
  AddFile("a", "text");
  options_.output = "/proc/lextra/corpus";
  EXPECT_THAT(ExpectRefused(ExitCode::kStorage), HasSubstr("/proc/lextra"));
}

}  // namespace
}  // namespace lextra

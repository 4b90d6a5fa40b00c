#include "data/samples/packed_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "data/token_file_writer.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFolder;

constexpr int64_t kEos = 999;

// Document d holds 10 d, 10 d + 1, ...: a token tells where it stands.
TokenDataset MakeDataset(const TemporaryFolder& folder,
                         const std::vector<int>& sizes) {
  const std::string prefix = folder.path() + "/data";
  auto writer = TokenFileWriter::Create(prefix, {.tokenizer = "test",
                                                 .tokenizer_sha256 = "",
                                                 .vocab_size = 1000,
                                                 .eos_id = kEos});
  EXPECT_TRUE(writer.ok());
  for (size_t document = 0; document < sizes.size(); ++document) {
    std::vector<int32_t> tokens(sizes[document]);
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = 10 * document + i;
    EXPECT_TRUE((*writer)->Append(tokens).ok());
    EXPECT_TRUE((*writer)->EndDocument(sizes[document]).ok());
  }
  TokenFileWriter* const writers[] = {writer->get()};
  EXPECT_TRUE(TokenFileWriter::Commit(writers).ok());
  absl::StatusOr<TokenDataset> dataset = TokenDataset::Open(prefix);
  EXPECT_TRUE(dataset.ok()) << dataset.status();
  return *std::move(dataset);
}

std::vector<int64_t> Stream(const PackedSamples& samples, int64_t length) {
  std::vector<int64_t> stream;
  std::vector<int64_t> sample(length + 1);
  for (int64_t i = 0; i < samples.num_samples(); ++i) {
    EXPECT_TRUE(samples.Read(i, sample).ok());
    // The last target of a sample is the first input of the next.
    if (!stream.empty()) {
      EXPECT_EQ(stream.back(), sample.front());
    }
    stream.insert(stream.end(), sample.begin() + (i > 0), sample.end());
  }
  return stream;
}

TEST(PackedSamples, LayWholeDocumentsEndToEndEachClosedByEos) {
  const TemporaryFolder folder;
  const std::vector<int> sizes = {3, 1, 7, 2, 9, 4};
  const TokenDataset dataset = MakeDataset(folder, sizes);
  ASSERT_EQ(dataset.num_tokens(), 26 + 6);
  for (const int64_t length : {1, 2, 5, 10, 31}) {
    const auto samples = PackedSamples::Create(dataset, length, 3);
    ASSERT_TRUE(samples.ok());
    EXPECT_EQ(samples->num_samples(), 31 / length);
    EXPECT_EQ(samples->unused_tokens(), 31 % length);
    std::vector<int64_t> stream = Stream(*samples, length);
    EXPECT_EQ(std::ssize(stream) + samples->unused_tokens(), 32);
    // Cut at eos: each piece is a document from its first token on, whole
    // unless the stream's end cuts it, and none comes twice.
    std::vector<int> seen(sizes.size());
    for (size_t i = 0; i < stream.size();) {
      const int64_t document = stream[i] / 10;
      ASSERT_LT(document, std::ssize(sizes));
      ++seen[document];
      for (int j = 0; j < sizes[document] && i < stream.size(); ++j, ++i) {
        ASSERT_EQ(stream[i], 10 * document + j);
      }
      if (i < stream.size()) {
        ASSERT_EQ(stream[i++], kEos);
      }
    }
    for (const int times : seen) EXPECT_LE(times, 1);
    if (length == 1) {
      EXPECT_EQ(seen, std::vector<int>(sizes.size(), 1));
    }
  }
}

TEST(PackedSamples, OrderDependsOnTheSeedAlone) {
  const TemporaryFolder folder;
  const TokenDataset dataset = MakeDataset(folder, std::vector<int>(60, 4));
  const auto stream = [&dataset](uint64_t seed) {
    return Stream(*PackedSamples::Create(dataset, 1, seed), 1);
  };
  EXPECT_EQ(stream(1), stream(1));
  EXPECT_NE(stream(1), stream(2));
  std::vector<int64_t> firsts;
  for (size_t i = 0; i < stream(1).size(); i += 5) {
    firsts.push_back(stream(1)[i]);
  }
  EXPECT_FALSE(std::is_sorted(firsts.begin(), firsts.end()));
}

TEST(PackedSamples, WithoutASeedAreCutFromTheStoredOrder) {
  const TemporaryFolder folder;
  const TokenDataset dataset = MakeDataset(folder, {3, 1, 5});
  const auto samples = PackedSamples::Create(dataset, 1, std::nullopt);
  EXPECT_EQ(Stream(*samples, 1),
            std::vector<int64_t>(
                {0, 1, 2, kEos, 10, kEos, 20, 21, 22, 23, 24, kEos}));
}

TEST(PackedSamples, SayWhichDocumentsTheTargetsOfASampleAreOf) {
  const TemporaryFolder folder;
  const TokenDataset dataset = MakeDataset(folder, {3, 1, 5});
  const auto samples = PackedSamples::Create(dataset, 3, std::nullopt);
  // The stream: 4 tokens of document 0, 2 of document 1, 6 of document 2.
  const std::pair<int64_t, int64_t> expected[] = {{0, 0}, {1, 2}, {2, 2}};
  ASSERT_EQ(samples->num_samples(), 3);
  for (int64_t sample = 0; sample < 3; ++sample) {
    const PackedSamples::Documents documents = samples->DocumentsOf(sample);
    EXPECT_EQ(std::pair(documents.first, documents.last), expected[sample])
        << sample;
  }
}

TEST(PackedSamples, RefuseADatasetWithoutOneWholeSample) {
  const TemporaryFolder folder;
  const TokenDataset dataset = MakeDataset(folder, {3, 3});  // 8 tokens
  EXPECT_TRUE(PackedSamples::Create(dataset, 7, 1).ok());
  const absl::Status status = PackedSamples::Create(dataset, 8, 1).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("8 tokens in 2 documents, but a sample needs 9"));
}

TEST(PackedSamples, RefuseADatasetWithoutDocuments) {
  const TemporaryFolder folder;
  const TokenDataset dataset = MakeDataset(folder, {});
  EXPECT_FALSE(PackedSamples::Create(dataset, 1, 1).ok());
}

}  // namespace
}  // namespace lextra

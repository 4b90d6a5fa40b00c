#include "data/byte_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/tokenizer.h"

namespace lextra {
namespace {

std::vector<int32_t> IdsOf(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> ids;
  const absl::Status status =
      tokenizer.Encode(text, [&](std::span<const int32_t> piece) {
        ids.insert(ids.end(), piece.begin(), piece.end());
        return absl::OkStatus();
      });
  EXPECT_TRUE(status.ok()) << status;
  return ids;
}

TEST(ByteTokenizer, GivesEveryByteItsOwnValue) {
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text += static_cast<char>(byte);
  const std::vector<int32_t> ids = IdsOf(ByteTokenizer(), text);
  ASSERT_EQ(ids.size(), 256u);
  for (int byte = 0; byte < 256; ++byte) EXPECT_EQ(ids[byte], byte);
}

TEST(ByteTokenizer, GivesALongDocumentInOrder) {
  std::string text;
  for (int64_t i = 0; i < 100000; ++i) {
    text += static_cast<char>(i * i % 251);
  }
  const std::vector<int32_t> ids = IdsOf(ByteTokenizer(), text);
  ASSERT_EQ(ids.size(), text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    ASSERT_EQ(ids[i], static_cast<unsigned char>(text[i])) << i;
  }
}

TEST(ByteTokenizer, HasAnEosThatNoByteCanBe) {
  EXPECT_EQ(ByteTokenizer().eos_id(), 256);
  EXPECT_EQ(ByteTokenizer().vocab_size(), 257);
  EXPECT_EQ(ByteTokenizer().bytes_per_token()[255], 1);
  EXPECT_EQ(ByteTokenizer().bytes_per_token()[256], 0);
}

TEST(ByteTokenizer, EndsWithTheFirstErrorOfItsSink) {
  int calls = 0;
  const absl::Status status = ByteTokenizer().Encode(
      std::string(1 << 20, 'a'), [&](std::span<const int32_t>) {
        ++calls;
        return Preempted("stop");
      });
  EXPECT_EQ(status.message(), "stop");
  EXPECT_EQ(calls, 1);
}

TEST(MakeTokenizer, NamesThoseThatThereAre) {
  EXPECT_EQ(MakeTokenizer("byte").value()->name(), "byte");
  const absl::Status unknown = MakeTokenizer("bpe").status();
  EXPECT_EQ(unknown.message(), "unknown tokenizer 'bpe' (available: byte)");
  EXPECT_EQ(ExitCodeOf(unknown), ExitCode::kUsage);
}

TEST(FindTokenizer, KnowsATokenizerByNameAndFile) {
  EXPECT_NE(FindTokenizer("byte", ""), nullptr);
  EXPECT_EQ(FindTokenizer("byte", "0123"), nullptr);
  EXPECT_EQ(FindTokenizer("other", ""), nullptr);
}

}  // namespace
}  // namespace lextra

#include "data/byte_tokenizer.h"

#include <gtest/gtest.h>

namespace lextra {
namespace {

TEST(ByteTokenizer, GivesEveryByteItsOwnValue) {
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text += static_cast<char>(byte);
  std::vector<int32_t> ids = {7};  // is replaced
  ByteTokenizer().Encode(text, &ids);
  ASSERT_EQ(ids.size(), 256u);
  for (int byte = 0; byte < 256; ++byte) EXPECT_EQ(ids[byte], byte);
}

TEST(ByteTokenizer, HasAnEosThatNoByteCanBe) {
  EXPECT_EQ(ByteTokenizer::kEosId, 256);
  EXPECT_EQ(ByteTokenizer::kVocabSize, 257);
}

}  // namespace
}  // namespace lextra

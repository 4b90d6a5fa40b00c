#include "data/byte_tokenizer.h"

#include <algorithm>

namespace lextra {

void ByteTokenizer::Encode(std::string_view text,
                           std::vector<int32_t>* ids) const {
  ids->resize(text.size());
  std::transform(text.begin(), text.end(), ids->begin(),
                 [](char byte) { return static_cast<unsigned char>(byte); });
}

}  // namespace lextra

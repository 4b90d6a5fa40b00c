#include "data/byte_tokenizer.h"

#include <algorithm>

namespace lextra {
namespace {

// Stays in the cache.
constexpr size_t kPieceBytes = size_t{1} << 15;

}  // namespace

std::vector<int32_t> ByteTokenizer::bytes_per_token() const {
  std::vector<int32_t> bytes(vocab_size(), 1);
  bytes[eos_id()] = 0;
  return bytes;
}

absl::Status ByteTokenizer::Encode(std::string_view document,
                                   IdSink sink) const {
  std::vector<int32_t> ids(std::min(document.size(), kPieceBytes));
  while (!document.empty()) {
    const std::string_view piece = document.substr(0, kPieceBytes);
    std::transform(piece.begin(), piece.end(), ids.begin(),
                   [](char byte) { return static_cast<unsigned char>(byte); });
    LEXTRA_RETURN_IF_ERROR(sink(std::span(ids).first(piece.size())));
    document.remove_prefix(piece.size());
  }
  return absl::OkStatus();
}

}  // namespace lextra

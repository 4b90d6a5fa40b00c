#include "data/tokenizer.h"

#include "absl/strings/str_cat.h"
#include "data/byte_tokenizer.h"

namespace lextra {

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeTokenizer(
    const std::string& name) {
  std::unique_ptr<Tokenizer> tokenizer = FindTokenizer(name, /*sha256=*/"");
  if (tokenizer != nullptr) return tokenizer;
  return UsageError(
      absl::StrCat("unknown tokenizer '", name, "' (available: byte)"));
}

std::unique_ptr<Tokenizer> FindTokenizer(const std::string& name,
                                         const std::string& sha256) {
  auto byte = std::make_unique<ByteTokenizer>();
  if (name == byte->name() && sha256 == byte->sha256()) return byte;
  return nullptr;
}

}  // namespace lextra

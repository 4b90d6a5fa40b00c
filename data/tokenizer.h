// Turns text into token ids. A new tokenizer is a class like that of
// byte_tokenizer.h and a line in MakeTokenizer.
#ifndef LEXTRA_DATA_TOKENIZER_H_
#define LEXTRA_DATA_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/status.h"

namespace lextra {

class Tokenizer {
 public:
  // Takes the next ids of a document; an error ends the encoding.
  using IdSink = absl::FunctionRef<absl::Status(std::span<const int32_t> ids)>;

  virtual ~Tokenizer() = default;

  // "byte". Data sets and checkpoints identify a tokenizer by its name and the
  // SHA-256 of its file, empty if it has none.
  virtual std::string name() const = 0;
  virtual std::string sha256() const = 0;
  virtual int64_t vocab_size() const = 0;
  // The id that ends a document.
  virtual int64_t eos_id() const = 0;
  // Bytes of text that each id stands for, 0 for eos.
  virtual std::vector<int32_t> bytes_per_token() const = 0;
  // Whether ids 0 .. 255 are bytes, so that text can be built from them.
  virtual bool ids_are_bytes() const = 0;

  // The ids of a whole document, without eos, in pieces of any size.
  virtual absl::Status Encode(std::string_view document, IdSink sink) const = 0;
};

// UsageError, which lists the available ones, for an unknown name.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeTokenizer(
    const std::string& name);

// The tokenizer that a data set or a checkpoint names; null if it is not one
// of ours.
std::unique_ptr<Tokenizer> FindTokenizer(const std::string& name,
                                         const std::string& sha256);

}  // namespace lextra

#endif  // LEXTRA_DATA_TOKENIZER_H_

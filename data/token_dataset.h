// A token data set: PREFIX.bin and PREFIX.idx in Megatron's indexed format
// (docs/formats.md), mapped and checked when opened.
#ifndef LEXTRA_DATA_TOKEN_DATASET_H_
#define LEXTRA_DATA_TOKEN_DATASET_H_

#include <cstdint>
#include <span>
#include <string>

#include "base/io/open_files.h"
#include "base/status.h"
#include "data/token_file_format.h"

namespace lextra {

// PREFIX.meta.json: what the two files can't say.
struct DatasetMeta {
  std::string tokenizer;         // "byte"
  std::string tokenizer_sha256;  // of its file; empty for the built-in byte
  int64_t vocab_size = 0;
  int64_t eos_id = 0;
  int64_t documents = 0;
  int64_t tokens = 0;  // with one eos after each document
  int64_t bytes = 0;   // of the text
};

class TokenDataset {
 public:
  // `prefix` with or without .bin / .idx. Every header field, count and offset
  // is checked against the files' sizes before use, and the ids of 64 pages of
  // 4 KiB spread over the tokens against the vocabulary; InputErrors name file,
  // field, found and expected.
  static absl::StatusOr<TokenDataset> Open(const std::string& prefix);

  const std::string& prefix() const { return prefix_; }  // without .bin
  const DatasetMeta& meta() const { return meta_; }
  int64_t num_documents() const { return num_documents_; }
  int64_t num_tokens() const { return num_tokens_; }
  // Tokens of a document, including its closing eos.
  int64_t document_size(int64_t document) const;
  int64_t document_begin(int64_t document) const;  // in tokens of the stream
  TokenType type() const { return type_; }

  // Distinguishes data sets: CRC-32C of the index and of 64 pages of 4 KiB
  // spread over the tokens.
  uint32_t Fingerprint() const;

  // Whether the ids of `count` tokens of the stream from `first` on are all in
  // [0, vocab_size), at memory speed; an InputError names the first that is
  // not, its document and position. CheckIds(0, num_tokens()) reads everything.
  absl::Status CheckIds(int64_t first, int64_t count) const;

  // Copies tokens [begin, begin + out.size()) of one document, widened.
  // InputError for an id outside [0, vocab_size), naming document and position,
  // and for a file that was truncated after it was opened.
  absl::Status Read(int64_t document, int64_t begin,
                    std::span<int64_t> out) const;

 private:
  TokenDataset() = default;

  absl::Status CheckHeader();     // magic, version, type, the file's size
  absl::Status CheckSequences();  // lengths and offsets, the size of .bin
  absl::Status CheckDocuments();
  absl::Status ReadMeta();
  absl::Status CheckedMeta(const std::string& name, const std::string& text);
  absl::Status CheckSomeIds() const;
  absl::Status CheckSizes() const;  // of the files as they are now
  absl::Status WrongId(int64_t token) const;
  std::span<const std::byte> Page(int64_t page) const;

  // Entries of the arrays of .idx (token_file_format.h).
  int32_t length(int64_t sequence) const;
  int64_t offset(int64_t sequence) const;
  int64_t first_sequence(int64_t document) const;
  template <typename Stored>
  void Widen(int64_t begin, std::span<int64_t> out) const;

  std::string prefix_;
  DatasetMeta meta_;
  MappedFile bin_;
  MappedFile idx_;
  TokenType type_ = TokenType::kUint16;
  int64_t item_bytes_ = 0;
  int64_t num_sequences_ = 0;
  int64_t num_documents_ = 0;
  int64_t num_tokens_ = 0;
};

}  // namespace lextra

#endif  // LEXTRA_DATA_TOKEN_DATASET_H_

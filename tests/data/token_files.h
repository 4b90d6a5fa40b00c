// Token data sets laid out by hand, byte by byte as docs/formats.md says.
#ifndef LEXTRA_TESTS_DATA_TOKEN_FILES_H_
#define LEXTRA_TESTS_DATA_TOKEN_FILES_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace lextra::testing {

inline void WriteText(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// The `count` low bytes of a number, lowest first.
inline std::string LittleEndian(uint64_t number, int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) {
    bytes += static_cast<char>(number >> (8 * i));
  }
  return bytes;
}

// The parts of PREFIX.idx, so that a test can make any of them lie.
struct IndexParts {
  std::string magic = std::string("MMIDIDX\0\0", 9);
  uint64_t version = 1;
  uint8_t type = 8;
  uint64_t sequences = 0;
  uint64_t document_entries = 0;
  std::vector<int32_t> lengths;
  std::vector<int64_t> offsets;
  std::vector<int64_t> documents;
  std::string rest;  // modes, or what doesn't belong there

  std::string Bytes() const {
    std::string bytes = magic + LittleEndian(version, 8);
    bytes += static_cast<char>(type);
    bytes += LittleEndian(sequences, 8) + LittleEndian(document_entries, 8);
    for (const int32_t length : lengths) bytes += LittleEndian(length, 4);
    for (const int64_t offset : offsets) bytes += LittleEndian(offset, 8);
    for (const int64_t first : documents) bytes += LittleEndian(first, 8);
    return bytes + rest;
  }
};

// A sound index; a document is one sequence unless `documents` says otherwise.
inline IndexParts Index(const std::vector<int32_t>& lengths, int item_bytes,
                        uint8_t type, std::vector<int64_t> documents = {}) {
  if (documents.empty()) {
    documents.resize(lengths.size() + 1);
    std::iota(documents.begin(), documents.end(), 0);
  }
  IndexParts index;
  index.type = type;
  index.sequences = lengths.size();
  index.document_entries = documents.size();
  index.lengths = lengths;
  index.documents = documents;
  int64_t offset = 0;
  for (const int32_t length : lengths) {
    index.offsets.push_back(offset);
    offset += int64_t{length} * item_bytes;
  }
  return index;
}

inline std::string Tokens(const std::vector<int64_t>& tokens, int item_bytes) {
  std::string bytes;
  for (const int64_t token : tokens) bytes += LittleEndian(token, item_bytes);
  return bytes;
}

inline std::string Meta(int64_t vocab_size, int64_t eos_id, int64_t documents,
                        int64_t tokens) {
  return absl::StrCat("{\"tokenizer\": \"byte\", \"tokenizer_sha256\": \"\", ",
                      "\"vocab_size\": ", vocab_size, ", \"eos_id\": ", eos_id,
                      ", \"documents\": ", documents, ", \"tokens\": ", tokens,
                      ", \"bytes\": ", tokens - documents, "}");
}

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_DATA_TOKEN_FILES_H_

// Constants of Megatron's indexed format (docs/formats.md): PREFIX.bin is the
// tokens back to back; PREFIX.idx is this header, then
//   int32 lengths[S]    tokens of each sequence
//   int64 offsets[S]    byte of PREFIX.bin where each begins
//   int64 documents[D]  document d is sequences [documents[d], documents[d+1])
// all little-endian and unaligned, since the header has 34 bytes.
#ifndef LEXTRA_DATA_TOKEN_FILE_FORMAT_H_
#define LEXTRA_DATA_TOKEN_FILE_FORMAT_H_

#include <cstdint>
#include <string_view>

namespace lextra {

constexpr std::string_view kIndexMagic("MMIDIDX\0\0", 9);
constexpr uint64_t kIndexVersion = 1;
constexpr int64_t kIndexVersionOffset = 9;
constexpr int64_t kIndexTypeOffset = 17;
constexpr int64_t kIndexSequencesOffset = 18;  // uint64 S
constexpr int64_t kIndexDocumentsOffset = 26;  // uint64 D, documents + 1
constexpr int64_t kIndexHeaderBytes = 34;

enum class TokenType : uint8_t {
  kUint8 = 1,
  kInt8 = 2,
  kInt16 = 3,
  kInt32 = 4,
  kInt64 = 5,
  kUint16 = 8,
};

constexpr int64_t kMaxSequenceTokens = INT32_MAX;

// Vocabularies below this are stored in two bytes per token, others in four.
constexpr int64_t kSmallVocabulary = 65500;

// Of the file that stores the digest (dataset_digest.h).
constexpr char kDigestSuffix[] = ".digest.json";

// Keys of PREFIX.meta.json.
constexpr char kMetaTokenizer[] = "tokenizer";
constexpr char kMetaTokenizerSha256[] = "tokenizer_sha256";
constexpr char kMetaVocabSize[] = "vocab_size";
constexpr char kMetaEosId[] = "eos_id";
constexpr char kMetaDocuments[] = "documents";
constexpr char kMetaTokens[] = "tokens";
constexpr char kMetaBytes[] = "bytes";

}  // namespace lextra

#endif  // LEXTRA_DATA_TOKEN_FILE_FORMAT_H_

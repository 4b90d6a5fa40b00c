#include "data/token_dataset.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/hash/crc32c.h"
#include "base/io/files.h"
#include "base/io/open_files.h"
#include "base/io/system_calls.h"
#include "base/work_counter.h"
#include "data/token_ids.h"
#include "nlohmann/json.hpp"

namespace lextra {
namespace {

constexpr int64_t kMaxMetaBytes = int64_t{1} << 16;

// Pages spread over the tokens.
constexpr int64_t kPages = 64;
constexpr int64_t kPageBytes = 4096;

std::string WithoutSuffix(const std::string& prefix) {
  for (const std::string_view suffix : {".bin", ".idx"}) {
    if (prefix.ends_with(suffix)) {
      return prefix.substr(0, prefix.size() - suffix.size());
    }
  }
  return prefix;
}

// The arrays are not aligned: never read them through a cast pointer.
template <typename Number>
Number Load(const MappedFile& file, int64_t offset) {
  Number number;
  std::memcpy(&number, file.bytes().subspan(offset, sizeof(number)).data(),
              sizeof(number));
  return number;
}

std::string TypeProblem(uint8_t code) {
  if (code == 6 || code == 7) {
    return absl::StrFormat("%d (%s), which cannot hold token ids", code,
                           code == 6 ? "float64" : "float32");
  }
  return absl::StrCat(code);
}

// The object that the text is; no key is in it twice.
absl::StatusOr<nlohmann::json> ObjectOf(const std::string& name,
                                        const std::string& text) {
  std::set<std::string> keys;
  std::string repeated;
  const auto see = [&](int depth, nlohmann::json::parse_event_t event,
                       const nlohmann::json& parsed) {
    if (event == nlohmann::json::parse_event_t::key && depth == 1 &&
        !keys.insert(parsed.get<std::string>()).second) {
      repeated = parsed.get<std::string>();
    }
    return depth <= 1;  // nested values are not ours and not kept
  };
  const nlohmann::json json = nlohmann::json::parse(text, see, false);
  if (!json.is_object()) return InputError(name + ": not a JSON object");
  if (!repeated.empty()) {
    return InputError(
        absl::StrFormat("%s: duplicate key '%s'", name, repeated));
  }
  return json;
}

}  // namespace

absl::StatusOr<TokenDataset> TokenDataset::Open(const std::string& prefix) {
  TokenDataset dataset;
  dataset.prefix_ = WithoutSuffix(prefix);
  LEXTRA_ASSIGN_OR_RETURN(dataset.idx_,
                          MappedFile::Open(dataset.prefix_ + ".idx"));
  LEXTRA_ASSIGN_OR_RETURN(dataset.bin_,
                          MappedFile::Open(dataset.prefix_ + ".bin"));
  LEXTRA_RETURN_IF_ERROR(dataset.CheckHeader());
  LEXTRA_RETURN_IF_ERROR(dataset.CheckSequences());
  LEXTRA_RETURN_IF_ERROR(dataset.CheckDocuments());
  LEXTRA_RETURN_IF_ERROR(dataset.ReadMeta());
  LEXTRA_RETURN_IF_ERROR(dataset.CheckSomeIds());
  return dataset;
}

int32_t TokenDataset::length(int64_t sequence) const {
  return Load<int32_t>(idx_, kIndexHeaderBytes + 4 * sequence);
}

int64_t TokenDataset::offset(int64_t sequence) const {
  return Load<int64_t>(idx_,
                       kIndexHeaderBytes + 4 * num_sequences_ + 8 * sequence);
}

int64_t TokenDataset::first_sequence(int64_t document) const {
  return Load<int64_t>(idx_,
                       kIndexHeaderBytes + 12 * num_sequences_ + 8 * document);
}

absl::Status TokenDataset::CheckHeader() {
  const auto error = [this](const std::string& problem) {
    return InputError(absl::StrCat(idx_.path(), ": ", problem));
  };
  if (idx_.size() < kIndexHeaderBytes) {
    return error(absl::StrFormat("%d bytes, expected at least %d (the header)",
                                 idx_.size(), kIndexHeaderBytes));
  }
  if (std::memcmp(idx_.bytes().data(), kIndexMagic.data(),
                  kIndexMagic.size()) != 0) {
    return error("not a token index: it does not begin with MMIDIDX");
  }
  const auto version = Load<uint64_t>(idx_, kIndexVersionOffset);
  if (version != kIndexVersion) {
    return error(
        absl::StrFormat("version is %d, expected %d", version, kIndexVersion));
  }
  const auto code = Load<uint8_t>(idx_, kIndexTypeOffset);
  item_bytes_ = ItemBytes(code);
  if (item_bytes_ == 0) {
    return error(absl::StrCat("token type is ", TypeProblem(code),
                              "; expected one of 1 (uint8), 2 (int8), 3 "
                              "(int16), 4 (int32), 5 (int64), 8 (uint16)"));
  }
  type_ = static_cast<TokenType>(code);

  const auto sequences = Load<uint64_t>(idx_, kIndexSequencesOffset);
  const auto entries = Load<uint64_t>(idx_, kIndexDocumentsOffset);
  // Each count must fit into the file on its own; then their sum can't
  // overflow.
  const uint64_t room = idx_.size() - kIndexHeaderBytes;
  if (entries < 1 || entries > room / 8 || sequences > room / 12) {
    return error(absl::StrFormat(
        "header states %d sequences and %d document entries (at least 1), "
        "which do not fit into %d bytes",
        sequences, entries, idx_.size()));
  }
  num_sequences_ = static_cast<int64_t>(sequences);
  num_documents_ = static_cast<int64_t>(entries) - 1;
  const uint64_t arrays = 12 * sequences + 8 * entries;
  // Multimodal files have one more byte per sequence.
  if (room != arrays && room != arrays + sequences) {
    return error(absl::StrFormat(
        "%d bytes, but %d sequences and %d document entries need %d",
        idx_.size(), sequences, entries, kIndexHeaderBytes + arrays));
  }
  return absl::OkStatus();
}

absl::Status TokenDataset::CheckSequences() {
  int64_t expected = 0;
  for (int64_t sequence = 0; sequence < num_sequences_; ++sequence) {
    const int64_t tokens = length(sequence);
    if (tokens < 0) {
      return InputError(
          absl::StrFormat("%s: length of sequence %d is %d, expected 0 or more",
                          idx_.path(), sequence, tokens));
    }
    if (offset(sequence) != expected) {
      return InputError(absl::StrFormat(
          "%s: sequence %d begins at byte %d, expected %d (where the previous "
          "one ends)",
          idx_.path(), sequence, offset(sequence), expected));
    }
    // Stops as soon as it passes the file's size, so it can't overflow.
    expected += tokens * item_bytes_;
    CountWork();
    if (expected > bin_.size()) break;
  }
  if (expected != bin_.size()) {
    return InputError(absl::StrFormat(
        "%s: %d bytes, but its index (.idx) needs %s%d: the file is truncated "
        "or belongs to another index",
        bin_.path(), bin_.size(), expected > bin_.size() ? "at least " : "",
        expected));
  }
  num_tokens_ = expected / item_bytes_;
  return absl::OkStatus();
}

absl::Status TokenDataset::CheckDocuments() {
  int64_t previous = 0;
  for (int64_t entry = 0; entry <= num_documents_; ++entry) {
    const int64_t first = first_sequence(entry);
    if (first < previous || (entry == 0 && first != 0)) {
      return InputError(absl::StrFormat(
          "%s: document entry %d is sequence %d; expected entries that begin "
          "with 0, never decrease and end with %d",
          idx_.path(), entry, first, num_sequences_));
    }
    previous = first;
    CountWork();
  }
  if (previous != num_sequences_) {
    return InputError(
        absl::StrFormat("%s: last document entry is %d, expected %d",
                        idx_.path(), previous, num_sequences_));
  }
  return absl::OkStatus();
}

absl::Status TokenDataset::ReadMeta() {
  const std::string name = prefix_ + ".meta.json";
  const absl::StatusOr<std::string> text = ReadFile(name, kMaxMetaBytes);
  if (!text.ok()) {
    return InputError(absl::StrCat(
        text.status().message(),
        "; this file names the tokenizer of the tokens. `lextra prepare` "
        "writes it; for files from elsewhere write it by hand: "
        "{\"tokenizer\": \"NAME\", "
        "\"tokenizer_sha256\": \"\", \"vocab_size\": N, \"eos_id\": N, "
        "\"documents\": ",
        num_documents_, ", \"tokens\": ", num_tokens_,
        ", \"bytes\": bytes of the text}"));
  }
  return CheckedMeta(name, *text);
}

absl::Status TokenDataset::CheckedMeta(const std::string& name,
                                       const std::string& text) {
  LEXTRA_ASSIGN_OR_RETURN(const nlohmann::json json, ObjectOf(name, text));
  for (const auto& [key, target] :
       {std::pair(kMetaTokenizer, &meta_.tokenizer),
        std::pair(kMetaTokenizerSha256, &meta_.tokenizer_sha256)}) {
    const auto value = json.find(key);
    if (value == json.end() || !value->is_string()) {
      return InputError(
          absl::StrFormat("%s: '%s': expected a string", name, key));
    }
    *target = value->get<std::string>();
  }
  for (const auto& [key, target] :
       {std::pair(kMetaVocabSize, &meta_.vocab_size),
        std::pair(kMetaEosId, &meta_.eos_id),
        std::pair(kMetaDocuments, &meta_.documents),
        std::pair(kMetaTokens, &meta_.tokens),
        std::pair(kMetaBytes, &meta_.bytes)}) {
    const auto value = json.find(key);
    if (value == json.end() || !value->is_number_unsigned() ||
        value->get<uint64_t>() > uint64_t{INT64_MAX}) {
      return InputError(absl::StrFormat(
          "%s: '%s': expected a non-negative integer", name, key));
    }
    *target = value->get<int64_t>();
  }
  if (meta_.vocab_size > INT32_MAX || meta_.eos_id >= meta_.vocab_size) {
    return InputError(absl::StrFormat(
        "%s: eos_id %d and vocab_size %d: expected eos_id < vocab_size < 2^31",
        name, meta_.eos_id, meta_.vocab_size));
  }
  if (meta_.vocab_size > MaxVocabulary(type_)) {
    return InputError(absl::StrFormat(
        "%s: vocab_size %d, but tokens are stored as %s, which holds ids below "
        "%d: larger ids were lost when %s was written; write it with a wider "
        "type, or state the vocabulary of the ids in it",
        name, meta_.vocab_size, NameOf(type_), MaxVocabulary(type_),
        bin_.path()));
  }
  if (meta_.documents != num_documents_ || meta_.tokens != num_tokens_) {
    return InputError(absl::StrFormat(
        "%s: %d documents and %d tokens, but %s has %d and %d: the files do "
        "not belong together",
        name, meta_.documents, meta_.tokens, idx_.path(), num_documents_,
        num_tokens_));
  }
  return absl::OkStatus();
}

int64_t TokenDataset::document_begin(int64_t document) const {
  const int64_t sequence = first_sequence(document);
  if (sequence == num_sequences_) return num_tokens_;
  return offset(sequence) / item_bytes_;
}

int64_t TokenDataset::document_size(int64_t document) const {
  return document_begin(document + 1) - document_begin(document);
}

template <typename Stored>
void TokenDataset::Widen(int64_t begin, std::span<int64_t> out) const {
  const std::byte* stored =
      bin_.bytes()
          .subspan(begin * sizeof(Stored), out.size() * sizeof(Stored))
          .data();
  for (int64_t& token : out) {
    Stored id;
    std::memcpy(&id, stored, sizeof(id));
    token = id;
    stored += sizeof(id);
  }
}

std::span<const std::byte> TokenDataset::Page(int64_t page) const {
  const int64_t begin = bin_.size() / kPages * page;
  return bin_.bytes().subspan(begin, std::min(kPageBytes, bin_.size() - begin));
}

uint32_t TokenDataset::Fingerprint() const {
  uint32_t crc = Crc32c(idx_.bytes());
  for (int64_t page = 0; page < kPages; ++page) crc = Crc32c(Page(page), crc);
  return crc;
}

absl::Status TokenDataset::CheckIds(int64_t first, int64_t count) const {
  LEXTRA_RETURN_IF_ERROR(CheckSizes());
  const std::span<const std::byte> bytes =
      bin_.bytes().subspan(first * item_bytes_, count * item_bytes_);
  if (RangeOfTokenIds(type_, bytes).IsWithin(meta_.vocab_size)) {
    return absl::OkStatus();
  }
  int64_t token = first;
  while (RangeOfTokenIds(
             type_, bytes.subspan((token - first) * item_bytes_, item_bytes_))
             .IsWithin(meta_.vocab_size)) {
    ++token;
  }
  return WrongId(token);
}

absl::Status TokenDataset::CheckSomeIds() const {
  if (bin_.size() <= kPages * kPageBytes) return CheckIds(0, num_tokens_);
  for (int64_t page = 0; page < kPages; ++page) {
    const int64_t begin = Page(page).data() - bin_.bytes().data();
    LEXTRA_RETURN_IF_ERROR(
        CheckIds(begin / item_bytes_, kPageBytes / item_bytes_));
  }
  return absl::OkStatus();
}

absl::Status TokenDataset::WrongId(int64_t token) const {
  // The last document that begins at or before it.
  int64_t document = 0;
  for (int64_t end = num_documents_; end - document > 1;) {
    const int64_t middle = document + (end - document) / 2;
    (document_begin(middle) <= token ? document : end) = middle;
  }
  const int64_t id =
      RangeOfTokenIds(type_,
                      bin_.bytes().subspan(token * item_bytes_, item_bytes_))
          .largest;
  return InputError(absl::StrFormat(
      "%s: document %d, position %d: token id %d is outside the vocabulary [0, "
      "%d) of %s.meta.json",
      bin_.path(), document, token - document_begin(document), id,
      meta_.vocab_size, prefix_));
}

absl::Status TokenDataset::CheckSizes() const {
  LEXTRA_RETURN_IF_ERROR(bin_.CheckSize());
  return idx_.CheckSize();
}

absl::Status TokenDataset::Read(int64_t document, int64_t begin,
                                std::span<int64_t> out) const {
  sys::KillPoint("tokens_read");
  CountWork();
  LEXTRA_RETURN_IF_ERROR(CheckSizes());
  const int64_t count = static_cast<int64_t>(out.size());
  if (document < 0 || document >= num_documents_ || begin < 0 ||
      begin > document_size(document) ||
      count > document_size(document) - begin) {
    return InputError(absl::StrFormat(
        "%s: document %d (of %d) does not have %d tokens from position %d on",
        bin_.path(), document, num_documents_, count, begin));
  }
  const int64_t first = document_begin(document) + begin;
  switch (type_) {
    case TokenType::kUint8:
      Widen<uint8_t>(first, out);
      break;
    case TokenType::kInt8:
      Widen<int8_t>(first, out);
      break;
    case TokenType::kInt16:
      Widen<int16_t>(first, out);
      break;
    case TokenType::kInt32:
      Widen<int32_t>(first, out);
      break;
    case TokenType::kInt64:
      Widen<int64_t>(first, out);
      break;
    case TokenType::kUint16:
      Widen<uint16_t>(first, out);
      break;
  }
  for (int64_t i = 0; i < count; ++i) {
    if (out[i] < 0 || out[i] >= meta_.vocab_size) return WrongId(first + i);
  }
  return absl::OkStatus();
}

}  // namespace lextra

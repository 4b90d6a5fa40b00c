#include "data/token_file_writer.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/io/files.h"
#include "base/io/open_files.h"
#include "base/log.h"
#include "data/dataset_digest.h"
#include "data/token_file_format.h"
#include "data/token_file_names.h"
#include "nlohmann/json.hpp"

namespace lextra {
namespace {

constexpr size_t kPendingBytes = size_t{1} << 22;

bool IsSmall(const DatasetMeta& meta) {
  return meta.vocab_size < kSmallVocabulary;
}

std::string ParentFolder(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? "." : parent;
}

std::string MetaText(const DatasetMeta& meta) {
  const nlohmann::ordered_json json = {
      {kMetaTokenizer, meta.tokenizer},
      {kMetaTokenizerSha256, meta.tokenizer_sha256},
      {kMetaVocabSize, meta.vocab_size},
      {kMetaEosId, meta.eos_id},
      {kMetaDocuments, meta.documents},
      {kMetaTokens, meta.tokens},
      {kMetaBytes, meta.bytes}};
  return json.dump(2) + "\n";
}

// Collects the numbers of .idx and writes them in large pieces.
class IndexFile {
 public:
  explicit IndexFile(FileWriter writer) : writer_(std::move(writer)) {}

  template <typename Number>
  absl::Status Add(Number number) {
    const char* bytes = reinterpret_cast<const char*>(&number);
    pending_.append(bytes, sizeof(number));
    return pending_.size() < kPendingBytes ? absl::OkStatus() : Flush();
  }
  absl::Status Add(std::string_view bytes) {
    pending_ += bytes;
    return absl::OkStatus();
  }
  // Makes it durable; the digest of its bytes.
  absl::StatusOr<std::string> Close() {
    LEXTRA_RETURN_IF_ERROR(Flush());
    LEXTRA_RETURN_IF_ERROR(writer_.Close());
    return digest_.Hex();
  }

 private:
  absl::Status Flush() {
    LEXTRA_RETURN_IF_ERROR(writer_.Write(pending_));
    digest_.Add(pending_);
    pending_.clear();
    return absl::OkStatus();
  }

  FileWriter writer_;
  Digest digest_;
  std::string pending_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TokenFileWriter>> TokenFileWriter::Create(
    const std::string& prefix, const DatasetMeta& meta) {
  LEXTRA_ASSIGN_OR_RETURN(std::unique_ptr<OutputClaim> claim,
                          OutputClaim::Acquire(prefix));
  LEXTRA_ASSIGN_OR_RETURN(FileWriter bin,
                          FileWriter::Create(claim->TemporaryName(".bin")));
  DatasetMeta counted = meta;
  counted.documents = counted.tokens = counted.bytes = 0;
  return std::unique_ptr<TokenFileWriter>(new TokenFileWriter(
      prefix, std::move(counted), std::move(claim), std::move(bin)));
}

absl::Status TokenFileWriter::Append(std::span<const int32_t> tokens) {
  open_tokens_ += std::ssize(tokens);
  if (open_tokens_ > kMaxSequenceTokens) {
    return InputError(
        absl::StrFormat("%s: a document has more than %d tokens, the maximum "
                        "of the format",
                        prefix_, kMaxSequenceTokens));
  }
  return IsSmall(meta_) ? WriteTokens<uint16_t>(tokens)
                        : WriteTokens<int32_t>(tokens);
}

absl::Status TokenFileWriter::EndDocument(int64_t bytes) {
  const int32_t eos = static_cast<int32_t>(meta_.eos_id);
  LEXTRA_RETURN_IF_ERROR(Append(std::span(&eos, 1)));
  lengths_.push_back(static_cast<int32_t>(open_tokens_));
  meta_.documents += 1;
  meta_.tokens += open_tokens_;
  meta_.bytes += bytes;
  open_tokens_ = 0;
  return absl::OkStatus();
}

template <typename Stored>
absl::Status TokenFileWriter::WriteTokens(std::span<const int32_t> tokens) {
  while (!tokens.empty()) {
    const size_t begin = pending_.size();
    const size_t count =
        std::min(tokens.size(), (kPendingBytes - begin) / sizeof(Stored));
    pending_.resize(begin + count * sizeof(Stored));
    // The buffer's parts are whole tokens, so this is aligned.
    std::transform(tokens.begin(), tokens.begin() + count,
                   reinterpret_cast<Stored*>(pending_.data() + begin),
                   [](int32_t id) { return static_cast<Stored>(id); });
    tokens = tokens.subspan(count);
    if (pending_.size() == kPendingBytes) LEXTRA_RETURN_IF_ERROR(FlushTokens());
  }
  return absl::OkStatus();
}

absl::Status TokenFileWriter::FlushTokens() {
  const std::string_view bytes(pending_.data(), pending_.size());
  LEXTRA_RETURN_IF_ERROR(bin_.Write(bytes));
  bin_digest_.Add(bytes);
  pending_.clear();
  return absl::OkStatus();
}

absl::Status TokenFileWriter::WriteIndex() {
  LEXTRA_ASSIGN_OR_RETURN(FileWriter writer,
                          FileWriter::Create(claim_->TemporaryName(".idx")));
  IndexFile index(std::move(writer));
  const uint64_t num_sequences = lengths_.size();
  const TokenType type =
      IsSmall(meta_) ? TokenType::kUint16 : TokenType::kInt32;
  const int64_t item_bytes = IsSmall(meta_) ? 2 : 4;
  LEXTRA_RETURN_IF_ERROR(index.Add(kIndexMagic));
  LEXTRA_RETURN_IF_ERROR(index.Add(kIndexVersion));
  LEXTRA_RETURN_IF_ERROR(index.Add(type));
  LEXTRA_RETURN_IF_ERROR(index.Add(num_sequences));
  LEXTRA_RETURN_IF_ERROR(index.Add(num_sequences + 1));
  for (const int32_t length : lengths_) {
    LEXTRA_RETURN_IF_ERROR(index.Add(length));
  }
  int64_t offset = 0;
  for (const int32_t length : lengths_) {
    LEXTRA_RETURN_IF_ERROR(index.Add(offset));
    offset += length * item_bytes;
  }
  // One sequence is one document.
  for (uint64_t document = 0; document <= num_sequences; ++document) {
    LEXTRA_RETURN_IF_ERROR(index.Add(document));
  }
  LEXTRA_ASSIGN_OR_RETURN(idx_digest_, index.Close());
  return absl::OkStatus();
}

absl::Status TokenFileWriter::Seal() {
  LEXTRA_RETURN_IF_ERROR(FlushTokens());
  LEXTRA_RETURN_IF_ERROR(bin_.Close());
  LEXTRA_RETURN_IF_ERROR(WriteIndex());
  LEXTRA_ASSIGN_OR_RETURN(
      FileWriter meta, FileWriter::Create(claim_->TemporaryName(".meta.json")));
  LEXTRA_RETURN_IF_ERROR(meta.Write(MetaText(meta_)));
  return meta.Close();
}

absl::Status TokenFileWriter::WithdrawOld() {
  for (const std::string& name : {prefix_ + ".idx", prefix_ + kDigestSuffix}) {
    if (unlink(name.c_str()) == 0 || errno == ENOENT) continue;
    return StorageError(absl::StrFormat("failed to remove the old %s: %s", name,
                                        std::strerror(errno)));
  }
  return SyncFolder(ParentFolder(prefix_));
}

absl::Status TokenFileWriter::Publish() {
  for (const char* suffix : kTokenFileSuffixes) {
    LEXTRA_RETURN_IF_ERROR(
        Rename(claim_->TemporaryName(suffix), prefix_ + suffix));
  }
  return SyncFolder(ParentFolder(prefix_));
}

absl::Status TokenFileWriter::KeepDigests() const {
  LEXTRA_ASSIGN_OR_RETURN(const TokenDataset written,
                          TokenDataset::Open(prefix_));
  return lextra::KeepDigests(written,
                             {.bin = bin_digest_.Hex(), .idx = idx_digest_});
}

absl::Status TokenFileWriter::Commit(
    std::span<TokenFileWriter* const> writers) {
  for (TokenFileWriter* writer : writers) {
    LEXTRA_RETURN_IF_ERROR(writer->Seal());
  }
  for (TokenFileWriter* writer : writers) {
    LEXTRA_RETURN_IF_ERROR(writer->WithdrawOld());
  }
  for (TokenFileWriter* writer : writers) {
    LEXTRA_RETURN_IF_ERROR(writer->Publish());
    // The data set is complete; without digests they are computed on first use.
    const absl::Status kept = writer->KeepDigests();
    if (!kept.ok())
      LogWarning("failed to store the digest: %s", kept.message());
  }
  return absl::OkStatus();
}

}  // namespace lextra

// Writes a token data set (token_dataset.h) under temporary names
// (output_claim.h); nothing appears under its final name before Commit.
// PREFIX.idx is renamed last: a data set without it is incomplete.
#ifndef LEXTRA_DATA_TOKEN_FILE_WRITER_H_
#define LEXTRA_DATA_TOKEN_FILE_WRITER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/hash/digest.h"
#include "base/io/open_files.h"
#include "base/status.h"
#include "data/output_claim.h"
#include "data/token_dataset.h"

namespace lextra {

class TokenFileWriter {
 public:
  // Creates the folder of `prefix`. Uses the tokenizer's fields of `meta`; the
  // counts are taken here. StorageError if nothing can be written,
  // RunFolderHeldError if another process writes the same.
  static absl::StatusOr<std::unique_ptr<TokenFileWriter>> Create(
      const std::string& prefix, const DatasetMeta& meta);
  TokenFileWriter(const TokenFileWriter&) = delete;
  ~TokenFileWriter() = default;  // removes what was not committed

  // Adds tokens to the document that is being written: at most 2^31 - 2 in
  // all, ids below the vocabulary's size.
  absl::Status Append(std::span<const int32_t> tokens);
  // Ends it with eos. `bytes`: of its text.
  absl::Status EndDocument(int64_t bytes);

  // Completes the data sets of all writers and replaces older ones of the same
  // names. A crash or an error leaves each prefix with the old data set, with
  // the new one, or with one that does not open; never a mix of two.
  static absl::Status Commit(std::span<TokenFileWriter* const> writers);

  const DatasetMeta& meta() const { return meta_; }  // counts so far

 private:
  TokenFileWriter(std::string prefix, DatasetMeta meta,
                  std::unique_ptr<OutputClaim> claim, FileWriter bin)
      : prefix_(std::move(prefix)),
        meta_(std::move(meta)),
        claim_(std::move(claim)),
        bin_(std::move(bin)) {}

  template <typename Stored>
  absl::Status WriteTokens(std::span<const int32_t> tokens);
  absl::Status FlushTokens();
  absl::Status WriteIndex();
  absl::Status Seal();         // all three files complete and durable
  absl::Status WithdrawOld();  // removes the old .idx
  absl::Status Publish();      // renames, .idx last
  absl::Status KeepDigests() const;

  std::string prefix_;
  DatasetMeta meta_;
  std::unique_ptr<OutputClaim> claim_;
  FileWriter bin_;
  Digest bin_digest_;
  std::string idx_digest_;
  std::vector<char> pending_;     // of .bin
  std::vector<int32_t> lengths_;  // of the documents
  int64_t open_tokens_ = 0;       // of the document being written
};

}  // namespace lextra

#endif  // LEXTRA_DATA_TOKEN_FILE_WRITER_H_

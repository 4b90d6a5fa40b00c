// What a token data set is: a digest of every byte of PREFIX.bin and PREFIX.idx
// and of the tokenizer that PREFIX.meta.json names. Making it means reading the
// files once, so it is kept beside them in PREFIX.digest.json (docs/formats.md)
// with their sizes and times of change: it counts as long as those are the same
// and the sampled fingerprint is. Anything else is digested again.
#ifndef LEXTRA_DATA_DATASET_DIGEST_H_
#define LEXTRA_DATA_DATASET_DIGEST_H_

#include <cstdint>
#include <functional>
#include <string>

#include "base/status.h"
#include "data/token_dataset.h"

namespace lextra {

struct DatasetDigest {
  std::string digest;        // 32 hexadecimal digits
  uint32_t fingerprint = 0;  // TokenDataset::Fingerprint()
};

// Of one file's content (base/hash/digest.h).
struct TokenFileDigests {
  std::string bin;
  std::string idx;
};

// The digest that is kept beside the data, where it still counts; otherwise the
// files are read from end to end in memory of a megabyte, and what was
// found is kept for the next time. A folder that can't be written to costs a
// hint. `progressed` is called for every megabyte read. InputError where a
// file changes meanwhile.
absl::StatusOr<DatasetDigest> DigestOfDataset(
    const TokenDataset& dataset,
    const std::function<void()>& progressed = nullptr);

// Keeps digests that were made while the files were written.
absl::Status KeepDigests(const TokenDataset& dataset,
                         const TokenFileDigests& digests);

// Tells the files that `prefix` leads to from all others of this system.
std::string FilesOf(const TokenDataset& dataset);

}  // namespace lextra

#endif  // LEXTRA_DATA_DATASET_DIGEST_H_

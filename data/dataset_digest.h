// The identity of a token data set: a digest of every byte of PREFIX.bin and
// PREFIX.idx and of the tokenizer that PREFIX.meta.json names. Computing it
// means reading the files once, so it is stored next to them in
// PREFIX.digest.json (docs/formats.md) with their sizes and modification times.
// It is valid as long as these and the sampled fingerprint match; otherwise it
// is computed again.
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

// Digests of the files' contents (base/hash/digest.h).
struct TokenFileDigests {
  std::string bin;
  std::string idx;
};

// The digest stored next to the data, if it is still valid; otherwise the files
// are read completely, with a buffer of a megabyte, and the result is stored
// for the next time. If the folder is not writable, logs a hint. `progressed`
// is called for every megabyte read. InputError if a file changes meanwhile.
absl::StatusOr<DatasetDigest> DigestOfDataset(
    const TokenDataset& dataset,
    const std::function<void()>& progressed = nullptr);

// Stores digests that were computed while the files were written.
absl::Status KeepDigests(const TokenDataset& dataset,
                         const TokenFileDigests& digests);

// Identifies the files of `prefix` among all others of this system.
std::string FilesOf(const TokenDataset& dataset);

}  // namespace lextra

#endif  // LEXTRA_DATA_DATASET_DIGEST_H_

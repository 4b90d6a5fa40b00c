#include "evaluator/dataset_agreement.h"

#include <ATen/ATen.h>

#include <chrono>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/hash/digest.h"
#include "base/log.h"
#include "parallel/agreement.h"

namespace lextra {

absl::StatusOr<DatasetDigest> AgreeOnDataset(Communicator& world,
                                             const std::string& field,
                                             const TokenDataset& dataset) {
  const auto start = std::chrono::steady_clock::now();
  const auto make = [&]() -> absl::StatusOr<std::string> {
    LEXTRA_ASSIGN_OR_RETURN(const DatasetDigest made, DigestOfDataset(dataset));
    return absl::StrFormat("%s%08x", made.digest, made.fingerprint);
  };
  LEXTRA_ASSIGN_OR_RETURN(const std::string text,
                          MakeOncePerKey(world, FilesOf(dataset), make));
  DatasetDigest agreed = {.digest = text.substr(0, Digest::kHexDigits)};
  TORCH_CHECK(absl::SimpleHexAtoi(text.substr(Digest::kHexDigits),
                                  &agreed.fingerprint));

  const DatasetMeta& meta = dataset.meta();
  const std::string difference = DifferenceOverRanks(
      world, absl::StrFormat("%d documents, %d tokens, tokenizer %s, digest %s",
                             meta.documents, meta.tokens, meta.tokenizer,
                             agreed.digest));
  if (difference.empty()) {
    const std::chrono::duration<double> taken =
        std::chrono::steady_clock::now() - start;
    LogInfo("%s=%s: digest %s, identical on all ranks (%.3f s)", field,
            dataset.prefix(), agreed.digest, taken.count());
    return agreed;
  }
  return InputError(absl::StrFormat(
      "%s=%s: ranks see different data: %s; put one data set on storage shared "
      "by all hosts, or the same copy on each",
      field, dataset.prefix(), difference));
}

}  // namespace lextra

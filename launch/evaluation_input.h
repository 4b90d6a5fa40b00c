// What `lextra evaluate` scores: a token data set, or a file of token ids.
#ifndef LEXTRA_LAUNCH_EVALUATION_INPUT_H_
#define LEXTRA_LAUNCH_EVALUATION_INPUT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "checkpoint/files/manifest.pb.h"
#include "data/token_dataset.h"
#include "evaluator/scoring/documents.h"
#include "parallel/communicator.h"

namespace lextra {

struct EvaluationInput {
  std::string path;
  std::string digest;  // AgreeOnInput
  std::optional<TokenDataset> dataset;
  at::Tensor tokens_BT;  // of a file of token ids
  std::unique_ptr<Documents> documents;
};

// The data set `prefix`. InputError if its tokenizer is not the checkpoint's,
// or if its vocabulary exceeds the model's.
absl::StatusOr<std::unique_ptr<EvaluationInput>> OpenDatasetInput(
    const std::string& prefix, const TokenizerId& tokenizer,
    int64_t vocab_size);

// Sets the digest of the data set or the token ids. InputError, on all ranks,
// if they read different data. Collective.
absl::Status AgreeOnInput(Communicator& world, EvaluationInput* input);

// `tokens` I64 [T] or [B, T] of the safetensors file `path`: each row is a
// document.
absl::StatusOr<std::unique_ptr<EvaluationInput>> OpenTokensInput(
    const std::string& path, const TokenizerId& tokenizer, int64_t vocab_size);

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_EVALUATION_INPUT_H_

#include "launch/evaluation_input.h"

#include <ATen/ATen.h>

#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/hash/digest.h"
#include "checkpoint/tensor_file.h"
#include "data/tokenizer.h"
#include "evaluator/dataset_agreement.h"
#include "parallel/agreement.h"

namespace lextra {
namespace {

absl::Status CheckTokenizer(const TokenizerId& trained, const DatasetMeta& meta,
                            const std::string& path, int64_t vocab_size) {
  if (!trained.name().empty() && (trained.name() != meta.tokenizer ||
                                  trained.sha256() != meta.tokenizer_sha256)) {
    return InputError(absl::StrFormat(
        "%s: made with tokenizer %s (sha256 '%s'), but the checkpoint was "
        "trained with %s (sha256 '%s')",
        path, meta.tokenizer, meta.tokenizer_sha256, trained.name(),
        trained.sha256()));
  }
  if (meta.vocab_size <= vocab_size) return absl::OkStatus();
  return InputError(absl::StrFormat(
      "%s: token ids up to %d, but the model's vocabulary size is %d", path,
      meta.vocab_size - 1, vocab_size));
}

}  // namespace

absl::StatusOr<std::unique_ptr<EvaluationInput>> OpenDatasetInput(
    const std::string& prefix, const TokenizerId& tokenizer,
    int64_t vocab_size) {
  auto input = std::make_unique<EvaluationInput>();
  input->path = prefix;
  LEXTRA_ASSIGN_OR_RETURN(input->dataset, TokenDataset::Open(prefix));
  LEXTRA_RETURN_IF_ERROR(
      CheckTokenizer(tokenizer, input->dataset->meta(), prefix, vocab_size));
  input->documents = std::make_unique<DatasetDocuments>(*input->dataset);
  return input;
}

absl::StatusOr<std::unique_ptr<EvaluationInput>> OpenTokensInput(
    const std::string& path, const TokenizerId& tokenizer, int64_t vocab_size) {
  LEXTRA_ASSIGN_OR_RETURN(NamedTensors tensors, ReadTensorFile(path));
  const auto found = tensors.find("tokens");
  if (found == tensors.end()) return InputError(path + ": no tensor 'tokens'");
  at::Tensor tokens = std::move(found->second);
  const bool is_long = tokens.scalar_type() == at::kLong;
  if (!is_long || tokens.dim() < 1 || tokens.dim() > 2) {
    return InputError(absl::StrFormat(
        "%s: tokens are %s with %d dimension(s), expected I64 [T] or [B, T]",
        path, DtypeName(tokens.scalar_type()), tokens.dim()));
  }
  if (tokens.dim() == 1) tokens = tokens.unsqueeze(0);
  TextMeasure measure;
  if (const auto known = FindTokenizer(tokenizer.name(), tokenizer.sha256())) {
    measure = TextMeasure::Of(*known, known->eos_id());
  }
  auto input = std::make_unique<EvaluationInput>();
  input->path = path;
  input->tokens_BT = tokens;
  input->documents =
      std::make_unique<TensorDocuments>(tokens, vocab_size, std::move(measure));
  return input;
}

absl::Status AgreeOnInput(Communicator& world, EvaluationInput* input) {
  if (input->dataset) {
    LEXTRA_ASSIGN_OR_RETURN(
        const DatasetDigest agreed,
        AgreeOnDataset(world, "data.validation", *input->dataset));
    input->digest = agreed.digest;
    return absl::OkStatus();
  }
  const at::Tensor tokens_BT = input->tokens_BT.contiguous();
  Digest digest;
  digest.Add(absl::StrCat(tokens_BT.size(0), " ", tokens_BT.size(1), " "));
  digest.Add(std::as_bytes(
      std::span(tokens_BT.const_data_ptr<int64_t>(), tokens_BT.numel())));
  input->digest = digest.Hex();
  const std::string difference = DifferenceOverRanks(
      world,
      absl::StrFormat("%d documents of %d tokens, digest %s", tokens_BT.size(0),
                      tokens_BT.size(1), input->digest));
  if (difference.empty()) return absl::OkStatus();
  return InputError(absl::StrFormat(
      "--tokens=%s: token ids differ between ranks: %s; put one file on "
      "storage that all hosts share, or the same copy on each",
      input->path, difference));
}

}  // namespace lextra

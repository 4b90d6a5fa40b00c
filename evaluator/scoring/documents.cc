#include "evaluator/scoring/documents.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "base/work_counter.h"

namespace lextra {

std::vector<int64_t> DocumentsLongerThan(const Documents& documents,
                                         int64_t num_tokens, int64_t most) {
  std::vector<int64_t> found;
  for (int64_t d = 0; d < documents.num_documents() && std::ssize(found) < most;
       ++d) {
    CountWork();
    if (documents.size(d) > num_tokens) found.push_back(d);
  }
  return found;
}

TextMeasure TextMeasure::Of(const Tokenizer& tokenizer, int64_t eos_id) {
  TextMeasure measure = {.bytes_of_id = tokenizer.bytes_per_token()};
  if (eos_id < std::ssize(measure.bytes_of_id)) {
    measure.bytes_of_id[eos_id] = 0;
  }
  return measure;
}

namespace {

// Documents need not end with eos, and eos may be elsewhere, too.
TextMeasure MeasureOf(const DatasetMeta& meta) {
  if (const auto known = FindTokenizer(meta.tokenizer, meta.tokenizer_sha256)) {
    return TextMeasure::Of(*known, meta.eos_id);
  }
  TextMeasure measure = {.eos_id = meta.eos_id};
  if (meta.bytes > 0) measure.bytes_of_all = meta.bytes;
  return measure;
}

}  // namespace

DatasetDocuments::DatasetDocuments(const TokenDataset& dataset)
    : Documents(MeasureOf(dataset.meta())), dataset_(dataset) {}

TensorDocuments::TensorDocuments(const at::Tensor& tokens_BT,
                                 int64_t vocab_size, TextMeasure text_measure)
    : Documents(std::move(text_measure)),
      tokens_BT_(tokens_BT.contiguous()),
      vocab_size_(vocab_size) {
  TORCH_CHECK(tokens_BT.dim() == 2 && tokens_BT.scalar_type() == at::kLong,
              "documents are int64 [B, T], not ", tokens_BT.scalar_type(), " ",
              tokens_BT.sizes());
}

absl::Status TensorDocuments::Read(int64_t document, int64_t begin,
                                   std::span<int64_t> out) const {
  CountWork();
  const int64_t* from = tokens_BT_.const_data_ptr<int64_t>() +
                        document * tokens_BT_.size(1) + begin;
  std::copy_n(from, out.size(), out.begin());
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i] >= 0 && out[i] < vocab_size_) continue;
    return InputError(absl::StrFormat(
        "tokens[%d, %d] = %d: expected at least 0 and below the model's "
        "vocabulary of %d",
        document, begin + static_cast<int64_t>(i), out[i], vocab_size_));
  }
  return absl::OkStatus();
}

}  // namespace lextra

// The scored documents, readable at any place, one range at a time.
#ifndef LEXTRA_EVALUATOR_SCORING_DOCUMENTS_H_
#define LEXTRA_EVALUATOR_SCORING_DOCUMENTS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/status.h"
#include "data/token_dataset.h"
#include "data/tokenizer.h"

namespace lextra {

// How tokens relate to bytes of text.
struct TextMeasure {
  // For a known tokenizer: the bytes that each id stands for; 0 for ids that
  // are not text, and for all ids beyond.
  std::vector<int32_t> bytes_of_id = {};
  // Otherwise the bytes of all documents, if known: every token except eos
  // counts as the average of these.
  std::optional<int64_t> bytes_of_all = std::nullopt;
  std::optional<int64_t> eos_id = std::nullopt;

  // Of text that ends with `eos_id`, which need not be the tokenizer's own.
  static TextMeasure Of(const Tokenizer& tokenizer, int64_t eos_id);
};

class Documents {
 public:
  virtual ~Documents() = default;

  virtual int64_t num_documents() const = 0;
  // In tokens, including a closing eos.
  virtual int64_t size(int64_t document) const = 0;
  // Copies tokens [begin, begin + out.size()) of one document. InputError if an
  // id is not one of the model's.
  virtual absl::Status Read(int64_t document, int64_t begin,
                            std::span<int64_t> out) const = 0;

  const TextMeasure& text_measure() const { return text_measure_; }

 protected:
  explicit Documents(TextMeasure text_measure)
      : text_measure_(std::move(text_measure)) {}

 private:
  TextMeasure text_measure_;
};

// The first `most` documents that have more than `num_tokens` tokens.
std::vector<int64_t> DocumentsLongerThan(
    const Documents& documents, int64_t num_tokens,
    int64_t most = std::numeric_limits<int64_t>::max());

// The documents of a data set, which outlives this.
class DatasetDocuments : public Documents {
 public:
  explicit DatasetDocuments(const TokenDataset& dataset);

  int64_t num_documents() const override { return dataset_.num_documents(); }
  int64_t size(int64_t document) const override {
    return dataset_.document_size(document);
  }
  absl::Status Read(int64_t document, int64_t begin,
                    std::span<int64_t> out) const override {
    return dataset_.Read(document, begin, out);
  }

 private:
  const TokenDataset& dataset_;
};

// Each row of tokens int64 [B, T] is a document.
class TensorDocuments : public Documents {
 public:
  TensorDocuments(const at::Tensor& tokens_BT, int64_t vocab_size,
                  TextMeasure text_measure);

  int64_t num_documents() const override { return tokens_BT_.size(0); }
  int64_t size(int64_t) const override { return tokens_BT_.size(1); }
  absl::Status Read(int64_t document, int64_t begin,
                    std::span<int64_t> out) const override;

 private:
  at::Tensor tokens_BT_;
  int64_t vocab_size_;
};

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_SCORING_DOCUMENTS_H_

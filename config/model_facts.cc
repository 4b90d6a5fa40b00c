#include "config/model_facts.h"

#include <numeric>

#include "base/math.h"

namespace lextra {

int64_t PaddedVocab(const ModelConfig& model) {
  return RoundUp(model.vocab_size(), model.pad_vocab_to_multiple_of());
}

int MaxTensorDegree(const ModelConfig& model) {
  const int64_t heads = std::gcd(model.num_heads(), model.num_kv_heads());
  return static_cast<int>(std::gcd(
      std::gcd(heads, int64_t{model.ffn_hidden_size()}), PaddedVocab(model)));
}

}  // namespace lextra

#include "config/model_facts.h"

#include <numeric>

namespace lextra {

int64_t PaddedVocab(const ModelConfig& model) {
  const int64_t multiple = model.vocab_multiple();
  return (model.vocab_size() + multiple - 1) / multiple * multiple;
}

int MaxTensorDegree(const ModelConfig& model) {
  const int64_t heads = std::gcd(model.num_heads(), model.num_kv_heads());
  return static_cast<int>(std::gcd(std::gcd(heads, int64_t{model.ffn_width()}),
                                   PaddedVocab(model)));
}

}  // namespace lextra

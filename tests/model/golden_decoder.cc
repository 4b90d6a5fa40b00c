#include "tests/model/golden_decoder.h"

#include <cmath>

namespace lextra::testing {

ModelConfig GoldenDecoderConfig(const std::string& name,
                                PositionMethod position, Precision precision) {
  const bool sub_ln = name == "subln";
  ModelConfig model;
  model.set_num_layers(sub_ln ? 3 : 2);
  model.set_hidden_size(sub_ln ? 48 : 32);
  model.set_num_heads(sub_ln ? 2 : 4);
  model.set_num_kv_heads(model.num_heads());
  model.set_head_dim(model.hidden_size() / model.num_heads());
  model.set_ffn_hidden_size(sub_ln ? 112 : 64);
  model.set_vocab_size(97);
  model.set_training_length(sub_ln ? 20 : 32);
  model.set_sub_ln(sub_ln);
  model.set_tie_word_embeddings(sub_ln);
  model.set_embedding_scale(sub_ln ? std::sqrt(48.0) : 1);
  model.set_position_encoding(position);
  model.set_precision(precision);
  return model;
}

}  // namespace lextra::testing

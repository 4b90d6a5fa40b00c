// The packed tensor of a layer's attention: its heads are H query heads, then K
// key heads, then K value heads.
#ifndef LEXTRA_MODEL_ATTENTION_PACKED_HEADS_H_
#define LEXTRA_MODEL_ATTENTION_PACKED_HEADS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lextra {

// Views of a packed [B, T, E, D], E = H + 2 K, or of its gradient.
struct PackedHeads {
  PackedHeads(const at::Tensor& packed_BTED, int64_t num_kv_heads) {
    TORCH_CHECK(
        packed_BTED.dim() == 4 && packed_BTED.size(2) > 2 * num_kv_heads,
        "packed queries, keys and values of ", num_kv_heads,
        " key/value heads must be [B, T, heads, D], not ", packed_BTED.sizes());
    const int64_t num_heads = packed_BTED.size(2) - 2 * num_kv_heads;
    q = packed_BTED.narrow(2, 0, num_heads);
    k = packed_BTED.narrow(2, num_heads, num_kv_heads);
    v = packed_BTED.narrow(2, num_heads + num_kv_heads, num_kv_heads);
  }

  at::Tensor q;
  at::Tensor k;
  at::Tensor v;
};

}  // namespace lextra

#endif  // LEXTRA_MODEL_ATTENTION_PACKED_HEADS_H_

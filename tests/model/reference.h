// Attention written once more, as plainly as possible: global positions, dense
// masks, fp64, ATen and its autograd. Shares no code with model/.
#ifndef LEXTRA_TESTS_MODEL_REFERENCE_H_
#define LEXTRA_TESTS_MODEL_REFERENCE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "config/run.pb.h"

namespace lextra::testing {

// A resolved model of these heads.
ModelConfig HeadsConfig(int64_t num_heads, int64_t num_kv_heads,
                        int64_t head_dim, PositionMethod position,
                        Precision precision);

// Which keys (columns) of N a query (row) sees; bool [N, N].
at::Tensor CausalMask(int64_t length);
at::Tensor BlockwiseMask(int64_t length, int64_t block);

// softmax over the keys that `visible` [T, S] allows, of q k^T / sqrt(D) +
// bias; q [B, T, H, D], k and v [B, S, K, D], bias [H, T, S] or undefined.
struct DenseResult {
  at::Tensor out_BTHD;
  at::Tensor lse_BTH;
};
DenseResult DenseAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, const at::Tensor& visible,
                           const at::Tensor& bias);

// The same of packed raw [B, N, E, D], rotated at places 0 .. N-1.
at::Tensor DensePacked(const at::Tensor& qkv_BNED, const ModelConfig& model,
                       const at::Tensor& visible);

// [B, N, ...] -> [blocks * B, h, ...], block-major, the last block padded by
// zeros; and back to the first N places.
at::Tensor ToBlocks(const at::Tensor& x, int64_t block);
at::Tensor FromBlocks(const at::Tensor& blocks, int64_t num_documents,
                      int64_t length);

// xPos's scores [T, S], scaled, of raw queries [T, D] at first_query, ... and
// raw keys [S, D] at 0, ..., one head of one row, by the distance of each pair
// (docs/method.md section 1). fp64.
at::Tensor ScoresByDistance(const ModelConfig& model, const at::Tensor& q_TD,
                            const at::Tensor& k_SD, int64_t first_query);

// Normal numbers from a seed, fp64.
at::Tensor Random(at::IntArrayRef shape, uint64_t seed);

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_MODEL_REFERENCE_H_

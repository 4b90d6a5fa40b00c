// Exact softmax attention of one rectangle of scores on CPUs, 64 queries at a
// time, with our own matrix products (ops/cpu/matmul.h). Reads and writes
// packed tensors in place.
//
//   S = scale Q K^T - slope distance,  lse = log sum e^S,  out = e^(S - lse) V.
//
// Query head h uses key/value head h / (heads / kv_heads).
#ifndef LEXTRA_OPS_CPU_ATTENTION_H_
#define LEXTRA_OPS_CPU_ATTENTION_H_

#include <cstdint>

#include "ops/head_view.h"

namespace lextra {

struct AttentionShape {
  int64_t batch;
  int64_t queries;
  int64_t keys;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  double scale;
  bool
      causal;  // query t sees keys 0 .. t; there are no fewer queries than keys
};

// Inputs of one rectangle. The score of query t and key s of head h gets
// -slopes[h] (distance + t query_step - s key_step) if `slopes` is given.
template <typename Scalar>
struct AttentionOperands {
  HeadVectors<const Scalar> q;
  HeadVectors<const Scalar> k;
  HeadVectors<const Scalar> v;
  const Scalar* slopes;  // [heads], or null
  int64_t distance;
  int64_t query_step;
  int64_t key_step;
};

// Outputs: out, and lse, one number per (batch, query, head).
template <typename Scalar>
struct AttentionResult {
  HeadVectors<Scalar> out;
  HeadVectors<Scalar> lse;
};

template <typename Scalar>
struct AttentionGradients {
  HeadVectors<Scalar> dq;
  HeadVectors<Scalar> dk;
  HeadVectors<Scalar> dv;
};

// Instances of both for float and double. `merge`: result holds attention over
// other keys and is extended to these.
template <typename Scalar>
void AttendOnCpu(const AttentionShape& shape,
                 const AttentionOperands<Scalar>& operands,
                 const AttentionResult<Scalar>& result, bool merge);

// Gradients from that of `merged`, which may have more parts than this one.
// Sets them, or accumulates if `accumulate`. At least one query.
template <typename Scalar>
void AttendBackwardOnCpu(const AttentionShape& shape,
                         const AttentionOperands<Scalar>& operands,
                         const AttentionResult<const Scalar>& merged,
                         HeadVectors<const Scalar> dout,
                         const AttentionGradients<Scalar>& gradients,
                         bool accumulate);

}  // namespace lextra

#endif  // LEXTRA_OPS_CPU_ATTENTION_H_

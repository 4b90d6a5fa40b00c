// Attention parts (ops/attention_part.h) by LibTorch's operators: used on GPUs,
// and in plain form anywhere.
#ifndef LEXTRA_OPS_ATTENTION_OPERATORS_H_
#define LEXTRA_OPS_ATTENTION_OPERATORS_H_

#include <ATen/core/Tensor.h>

#include "ops/attention_part.h"

namespace lextra {

enum class AttentionOperator {
  // FlashAttention 2: bfloat16, no bias, head sizes that are multiples of 8 up
  // to 256, causal only for as many keys as queries.
  kFlash,
  // cuDNN's: the same, head sizes up to 128; not deterministic.
  kCudnn,
  // The memory-efficient kernels: fp32, head sizes that are multiples of 4, and
  // otherwise as kFlash.
  kEfficient,
  // Matrix products and a softmax that stores all scores: any dtype (bfloat16
  // is computed in fp32), size and bias. Quadratic in memory.
  kProducts,
};
const char* NameOf(AttentionOperator which);

// Whether `which` takes such parts.
bool Takes(AttentionOperator which, at::ScalarType type, int64_t head_dim,
           bool equal_lengths, bool causal, bool biased);

// The operator for such a part on a GPU: the fastest that takes it, or the one
// named by the environment variable LEXTRA_ATTENTION (flash, cudnn, efficient,
// products) if that takes it.
AttentionOperator ChooseOperator(at::ScalarType type, int64_t head_dim,
                                 bool equal_lengths, bool causal, bool biased);

// Attend and AttendBackward of ops/attention_part.h with this operator.
AttentionPart AttendWith(AttentionOperator which, const at::Tensor& q_BTHD,
                         const at::Tensor& k_BSKD, const at::Tensor& v_BSKD,
                         bool causal, const at::Tensor& bias);

struct PartGradients {
  at::Tensor dq_BTHD;
  at::Tensor dk_BSKD;
  at::Tensor dv_BSKD;
};
PartGradients AttendBackwardWith(AttentionOperator which,
                                 const at::Tensor& dout_BTHD,
                                 const at::Tensor& q_BTHD,
                                 const at::Tensor& k_BSKD,
                                 const at::Tensor& v_BSKD,
                                 const AttentionPart& merged, bool causal,
                                 const at::Tensor& bias);

}  // namespace lextra

#endif  // LEXTRA_OPS_ATTENTION_OPERATORS_H_

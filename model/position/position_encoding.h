// What a position method does to queries, keys and scores. (What it adds to the
// embedding: model/position/position_embedding.h.)
//
// Positions are always relative to the start of a block of keys: keys of the
// block are at 0 .. h-1, a query that sees it is at its distance from the
// block's start. Only differences matter to the scores (docs/method.md section
// 1), so exponents and angles stay bounded for documents of any length. Blocks
// longer than key_span() are cut into pieces
// (model/attention/piecewise_attention.h).
//
// Legend: B batch, T place, H heads on this rank, D head size.
#ifndef LEXTRA_MODEL_POSITION_POSITION_ENCODING_H_
#define LEXTRA_MODEL_POSITION_POSITION_ENCODING_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "config/run.pb.h"
#include "ops/distance_bias.h"
#include "parallel/communicator.h"

namespace lextra {

enum class AttentionRole { kQuery, kKey };

class PositionEncoding {
 public:
  virtual ~PositionEncoding() = default;

  // out <- the linear map of this method for queries or keys at positions
  // first, first + 1, ... along T. in and out are [B, T, H, D] with any strides
  // but 1 along D, and may be the same tensor. No autograd.
  virtual void Rotate(AttentionRole role, const at::Tensor& in_BTHD,
                      const at::Tensor& out_BTHD, int64_t first_position) const;
  // out <- the transpose of that map, which maps gradients of rotated tensors
  // to gradients of raw ones.
  virtual void RotateTransposed(AttentionRole role, const at::Tensor& in_BTHD,
                                const at::Tensor& out_BTHD,
                                int64_t first_position) const;

  // Keys at positions 0 .. key_span() - 1 can be rotated without their factors,
  // or those of queries at any position from 0 on, leaving the dtype's range. A
  // query whose factor fades to 0 loses less than e^-35 of q . k (fp64:
  // e^-300).
  virtual int64_t key_span() const;

  // What is added to the scaled scores of queries and keys at these positions;
  // nothing by default.
  virtual DistanceBias ScoreBias(Positions queries, Positions keys) const;
};

// How the angles of XPOS and ROPE are changed for sequences `factor` times as
// long as training's (docs/method.md section 5). A factor of 1 changes nothing.
struct AngleScaling {
  RopeScaling::Type method = RopeScaling::NONE;
  double factor = 1;
  bool scales_exponent = false;  // xPos's positions are divided too
};

// The method of `model` (resolved). `center` is the position at which xPos's
// factors are 1: half the window, so that they stay near 1 on both sides; or
// less, if half the window is further from its start than factors reach.
// ALiBi's slopes are those of the heads on this rank of the tensor axis; null:
// of all heads. Tables are computed in fp64 from int64 positions and stored in
// fp64 for models of that precision, otherwise in fp32, on first use and when
// longer ones are needed. bfloat16 tensors are rotated in fp32 and rounded
// once.
std::unique_ptr<PositionEncoding> MakePositionEncoding(
    const ModelConfig& model, int64_t center,
    const Communicator* tensor_axis = nullptr,
    const AngleScaling& scaling = {});

}  // namespace lextra

#endif  // LEXTRA_MODEL_POSITION_POSITION_ENCODING_H_

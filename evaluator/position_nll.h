// Sums of NLL, in fp64, by document and by place in the piece.
//
// With s_d the sum and n_d the number of targets of document d (of D that have
// any), over all pieces of d:
//   mean            r = sum s_d / sum n_d                       nats a token
//   standard error  sqrt(D / (D - 1) * sum (s_d - r n_d)^2) / sum n_d
// the usual linearised error of a ratio: documents, not tokens, are the
// independent draws (Cochran, Sampling Techniques, section 2.11). NaN for one
// document.
#ifndef LEXTRA_EVALUATOR_POSITION_NLL_H_
#define LEXTRA_EVALUATOR_POSITION_NLL_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "parallel/communicator.h"

namespace lextra {

// Targets whose inputs are at places [first, last] of their piece, place 0
// being the one without context.
struct PlaceBin {
  int64_t first = 0;
  int64_t last = 0;
  int64_t tokens = 0;
  double nll = 0;  // mean
};

class PositionNll {
 public:
  explicit PositionNll(int64_t num_documents);

  // nll fp64 [n] of the targets whose inputs are at places first, first + 1,
  // ... of a piece of `document`.
  void Add(int64_t document, int64_t first, const at::Tensor& nll_T);

  // Sums over the ranks of the data axis, which scored different pieces.
  void AllReduce(Communicator& data_axis);

  int64_t num_tokens() const;
  int64_t num_documents() const;  // that have a target
  double Mean() const;            // NaN without tokens, like what follows
  double StandardError() const;
  // Nats a token as bits a byte, for that many bytes of text.
  double BitsPerByte(double num_bytes) const;
  // Bins [0, 0], [1, 1], [2, 3], [4, 7], ... that have tokens.
  std::vector<PlaceBin> ByPlace() const;

 private:
  // [.., 2]: sum of NLL, number of targets.
  at::Tensor by_document_;
  at::Tensor by_place_;
};

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_POSITION_NLL_H_

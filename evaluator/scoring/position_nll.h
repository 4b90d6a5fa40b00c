// Sums of NLL, in fp64, by document and by place in the piece.
//
// With s_d the sum and n_d the number of targets of document d (of D that have
// any), over all pieces of d:
//   mean            r = sum s_d / sum n_d                       nats per token
//   standard error  sqrt(D / (D - 1) * sum (s_d - r n_d)^2) / sum n_d
// the usual linearized error of a ratio: documents, not tokens, are the
// independent draws (Cochran, Sampling Techniques, section 2.11). NaN for one
// document.
//
// Sums are kept per document until all are complete and then added in document
// order: results are bitwise the same however the work was distributed.
#ifndef LEXTRA_EVALUATOR_SCORING_POSITION_NLL_H_
#define LEXTRA_EVALUATOR_SCORING_POSITION_NLL_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "parallel/communicator.h"

namespace lextra {

// Mean and standard error of the NLL of some targets.
struct NllStatistics {
  int64_t tokens = 0;
  int64_t documents = 0;  // that have one of the targets
  double nll = 0;         // mean; NaN without tokens, as below
  double standard_error = 0;
};

// Targets whose inputs are at places [first, last] of their piece, place 0
// being the one without context.
struct PlaceBin {
  int64_t first = 0;
  int64_t last = 0;
  NllStatistics of_targets = {};
};

class PositionNll {
 public:
  // Documents are numbered from 0; places go up to `num_places` - 1.
  PositionNll(int64_t num_documents, int64_t num_places);

  // nll fp64 [n] of the targets whose inputs are at places first, first + 1,
  // ... of a piece of `document`.
  void Add(int64_t document, int64_t first, const at::Tensor& nll_T);
  // Sum of NLL and number of targets in each bin of places, fp64 [bins, 2]: a
  // view.
  at::Tensor SumsOf(int64_t document) const {
    return sums_.select(0, document);
  }

  // Sums over the data axis, whose ranks scored different documents.
  void AllReduce(Communicator& data_axis);

  NllStatistics Whole() const;
  // Bins [0, 0], [1, 1], [2, 3], [4, 7], ... that have tokens.
  std::vector<PlaceBin> ByPlace() const;

 private:
  at::Tensor sums_;  // [documents, bins, 2]
};

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_SCORING_POSITION_NLL_H_

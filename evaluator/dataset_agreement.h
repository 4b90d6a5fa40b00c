// That all ranks read the same data. Hosts may see other files under the same
// path: training and scoring would go on over the mixture.
#ifndef LEXTRA_EVALUATOR_DATASET_AGREEMENT_H_
#define LEXTRA_EVALUATOR_DATASET_AGREEMENT_H_

#include <string>

#include "base/status.h"
#include "data/dataset_digest.h"
#include "parallel/communicator.h"

namespace lextra {

// The digest of the data set that `field` ("data.train") names, which every
// rank has opened. InputError, on all ranks, where theirs differ. A digest that
// must be made first is made once for each host that sees files of its own. The
// log says what it is. Collective over the world.
absl::StatusOr<DatasetDigest> AgreeOnDataset(Communicator& world,
                                             const std::string& field,
                                             const TokenDataset& dataset);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_DATASET_AGREEMENT_H_

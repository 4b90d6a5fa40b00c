// Checks that all ranks read the same data. Hosts may see different files under
// the same path; training or scoring would silently mix them.
#ifndef LEXTRA_EVALUATOR_DATASET_AGREEMENT_H_
#define LEXTRA_EVALUATOR_DATASET_AGREEMENT_H_

#include <string>

#include "base/status.h"
#include "data/dataset_digest.h"
#include "parallel/communicator.h"

namespace lextra {

// The digest of the data set that `field` ("data.train") names, which every
// rank has opened. InputError on all ranks if theirs differ. A digest that does
// not exist yet is computed once per host with its own files. Logs the digest.
// Collective over the world.
absl::StatusOr<DatasetDigest> AgreeOnDataset(Communicator& world,
                                             const std::string& field,
                                             const TokenDataset& dataset);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_DATASET_AGREEMENT_H_

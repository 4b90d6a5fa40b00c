// The NCCL that the module lextra_cuda.so is linked with.
#ifndef LEXTRA_PARALLEL_NCCL_NCCL_LINKED_H_
#define LEXTRA_PARALLEL_NCCL_NCCL_LINKED_H_

#include <memory>

#include "parallel/nccl/nccl_library.h"

namespace lextra {

// For GPU `device_index` of this host.
std::shared_ptr<NcclLibrary> LinkedNccl(int device_index);

// As 22809 for 2.28.9: of the headers, and of the library (0: unknown).
int NcclVersionBuilt();
int NcclVersionLoaded();

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_NCCL_NCCL_LINKED_H_

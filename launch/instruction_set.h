// Vector instructions that the ranks compute with. Sums of other widths, and
// products that are rounded once or twice, differ in their last bits: ranks
// that mix them drift apart where they repeat each other's work (the
// optimizer's step on copies of the parameters).
#ifndef LEXTRA_LAUNCH_INSTRUCTION_SET_H_
#define LEXTRA_LAUNCH_INSTRUCTION_SET_H_

#include <vector>

#include "base/status.h"
#include "parallel/device_mesh.h"
#include "parallel/mpi/mpi_session.h"

namespace lextra {

enum class InstructionSet : int { kBaseline, kAvx2, kAvx512 };

// "baseline", "avx2", "avx512".
const char* NameOf(InstructionSet set);

struct RankInstructionSets {
  InstructionSet machine = InstructionSet::kBaseline;  // the best it runs
  // Of our own matrix products (LEXTRA_INSTRUCTION_SET or the machine's) and
  // of LibTorch (ATEN_CPU_CAPABILITY or the machine's).
  InstructionSet products = InstructionSet::kBaseline;
  InstructionSet libtorch = InstructionSet::kBaseline;
};

// What every rank has. UsageError where a variable asks for more than its
// rank's machine runs.
absl::StatusOr<RankInstructionSets> CommonInstructionSets(
    const std::vector<RankInstructionSets>& of_ranks);

// All ranks compute with what every one of them has; a line says so where that
// is less than some have. Sets both variables for that, which are read when the
// first product or tensor is made: call it before. Collective; the status is
// the same on all ranks.
absl::Status AgreeOnInstructionSets(const MpiSession& mpi);

// UsageError, on all ranks, where the ranks of one tensor group run on machines
// of different instruction sets: there they repeat norms and other loops
// (base/vector_clones.h) whose instructions the machine alone decides.
absl::Status CheckTensorGroups(DeviceMesh& mesh);

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_INSTRUCTION_SET_H_

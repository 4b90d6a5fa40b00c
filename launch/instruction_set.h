// The vector instructions that ranks compute with. Sums of different widths,
// and products with or without FMA, differ in their last bits: ranks that mix
// them diverge where they repeat each other's work (the optimizer step on
// replicas of the parameters).
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
  InstructionSet machine = InstructionSet::kBaseline;  // the best supported
  // Of our own matrix products (LEXTRA_INSTRUCTION_SET or the host's) and of
  // LibTorch (ATEN_CPU_CAPABILITY or the host's).
  InstructionSet products = InstructionSet::kBaseline;
  InstructionSet libtorch = InstructionSet::kBaseline;
};

// What every rank supports. UsageError if a variable requests more than its
// rank's host supports.
absl::StatusOr<RankInstructionSets> CommonInstructionSets(
    const std::vector<RankInstructionSets>& of_ranks);

// Makes all ranks use what every one of them supports, and logs a line if that
// is less than some support. Sets both variables, which are read when the first
// product or tensor is made: call it before that. Collective; the status is the
// same on all ranks.
absl::Status AgreeOnInstructionSets(const MpiSession& mpi);

// UsageError, on all ranks, if the ranks of one tensor group run on hosts with
// different instruction sets: they repeat norms and other loops
// (base/vector_clones.h) whose instructions only the host determines.
absl::Status CheckTensorGroups(DeviceMesh& mesh);

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_INSTRUCTION_SET_H_

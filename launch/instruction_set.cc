#include "launch/instruction_set.h"

#include <ATen/Version.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "ops/cpu/matmul_tiles.h"
#include "parallel/agreement.h"

namespace lextra {
namespace {

constexpr char kProductsVariable[] = "LEXTRA_INSTRUCTION_SET";
constexpr char kLibTorchVariable[] = "ATEN_CPU_CAPABILITY";
constexpr InstructionSet kAll[] = {
    InstructionSet::kBaseline, InstructionSet::kAvx2, InstructionSet::kAvx512};

// LibTorch's name for it.
std::string CapabilityOf(InstructionSet set) {
  return set == InstructionSet::kBaseline ? "default" : NameOf(set);
}

InstructionSet OfThisMachine() {
  const std::string_view best =
      SupportedMatrixTiles<float>().front().instruction_set;
  return *std::find_if(std::begin(kAll), std::end(kAll),
                       [&](InstructionSet set) { return NameOf(set) == best; });
}

RankInstructionSets OfThisRank() {
  RankInstructionSets mine = {.machine = OfThisMachine()};
  mine.products = mine.libtorch = mine.machine;
  for (const InstructionSet set : kAll) {
    const char* products = std::getenv(kProductsVariable);
    if (products != nullptr && std::string_view(products) == NameOf(set)) {
      mine.products = set;
    }
    const char* libtorch = std::getenv(kLibTorchVariable);
    if (libtorch != nullptr && libtorch == CapabilityOf(set)) {
      mine.libtorch = set;
    }
  }
  return mine;
}

// An invalid name would be found at the first product, by only one rank.
// (LibTorch ignores a name that it does not know, with a warning.)
bool VariableIsKnown() {
  const char* name = std::getenv(kProductsVariable);
  return name == nullptr ||
         std::any_of(std::begin(kAll), std::end(kAll), [&](InstructionSet set) {
           return std::string_view(name) == NameOf(set);
         });
}

// "avx512 on ranks 0-3, avx2 on rank 4".
std::string WhoHasWhat(const std::vector<RankInstructionSets>& of_ranks,
                       InstructionSet RankInstructionSets::*which) {
  std::map<InstructionSet, std::vector<int>, std::greater<>> ranks;
  for (size_t rank = 0; rank < of_ranks.size(); ++rank) {
    ranks[of_ranks[rank].*which].push_back(static_cast<int>(rank));
  }
  return absl::StrJoin(ranks, ", ", [](std::string* text, const auto& entry) {
    absl::StrAppend(text, NameOf(entry.first), " on ", RanksText(entry.second));
  });
}

absl::StatusOr<std::vector<RankInstructionSets>> GatherInstructionSets(
    const MpiSession& mpi) {
  const RankInstructionSets mine = OfThisRank();
  const int encoded = 16 * static_cast<int>(mine.machine) +
                      4 * static_cast<int>(mine.products) +
                      static_cast<int>(mine.libtorch);
  std::vector<RankInstructionSets> of_ranks;
  for (const int number : mpi.GatherNumbers(VariableIsKnown() ? encoded : -1)) {
    if (number < 0) {
      return UsageError(absl::StrFormat(
          "rank %d: %s: expected avx512, avx2 or baseline, or unset",
          of_ranks.size(), kProductsVariable));
    }
    of_ranks.push_back({.machine = static_cast<InstructionSet>(number / 16),
                        .products = static_cast<InstructionSet>(number / 4 % 4),
                        .libtorch = static_cast<InstructionSet>(number % 4)});
  }
  return of_ranks;
}

void SetWhereRanksDiffer(const char* what, const char* variable,
                         const std::string& value,
                         const std::vector<RankInstructionSets>& of_ranks,
                         InstructionSet RankInstructionSets::*which) {
  if (std::all_of(of_ranks.begin(), of_ranks.end(),
                  [&](const RankInstructionSets& its) {
                    return its.*which == of_ranks[0].*which;
                  })) {
    return;
  }
  LogInfo(
      "%s: instruction sets differ between ranks (%s); all ranks use the "
      "lowest, %s=%s",
      what, WhoHasWhat(of_ranks, which), variable, value);
  setenv(variable, value.c_str(), /*overwrite=*/1);
}

// LibTorch keeps a choice made before a variable was set, and may detect a host
// differently.
absl::Status CheckLibTorchObeys(const MpiSession& mpi) {
  const std::string chosen = absl::AsciiStrToLower(at::get_cpu_capability());
  InstructionSet mine = InstructionSet::kBaseline;
  for (const InstructionSet set : kAll) {
    if (chosen == CapabilityOf(set)) mine = set;
  }
  std::vector<RankInstructionSets> of_ranks;
  for (const int number : mpi.GatherNumbers(static_cast<int>(mine))) {
    of_ranks.push_back({.libtorch = static_cast<InstructionSet>(number)});
  }
  InstructionSet least = InstructionSet::kAvx512;
  InstructionSet most = InstructionSet::kBaseline;
  for (const RankInstructionSets& its : of_ranks) {
    least = std::min(least, its.libtorch);
    most = std::max(most, its.libtorch);
  }
  if (least == most) return absl::OkStatus();
  return UsageError(absl::StrFormat(
      "LibTorch uses different instruction sets (%s): start all ranks with "
      "%s=%s (mpirun -x %s=%s)",
      WhoHasWhat(of_ranks, &RankInstructionSets::libtorch), kLibTorchVariable,
      CapabilityOf(least), kLibTorchVariable, CapabilityOf(least)));
}

}  // namespace

const char* NameOf(InstructionSet set) {
  switch (set) {
    case InstructionSet::kBaseline:
      return "baseline";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kAvx512:
      return "avx512";
  }
  return "";
}

absl::StatusOr<RankInstructionSets> CommonInstructionSets(
    const std::vector<RankInstructionSets>& of_ranks) {
  RankInstructionSets common = of_ranks.front();
  for (size_t rank = 0; rank < of_ranks.size(); ++rank) {
    const RankInstructionSets& its = of_ranks[rank];
    for (const auto& [variable, asked] :
         {std::pair(kProductsVariable, its.products),
          std::pair(kLibTorchVariable, its.libtorch)}) {
      if (asked <= its.machine) continue;
      return UsageError(absl::StrFormat(
          "rank %d: %s requests %s, but its host supports at most %s; request "
          "that, or unset the variable",
          rank, variable, NameOf(asked), NameOf(its.machine)));
    }
    common.machine = std::min(common.machine, its.machine);
    common.products = std::min(common.products, its.products);
    common.libtorch = std::min(common.libtorch, its.libtorch);
  }
  return common;
}

absl::Status AgreeOnInstructionSets(const MpiSession& mpi) {
  LEXTRA_ASSIGN_OR_RETURN(const std::vector<RankInstructionSets> of_ranks,
                          GatherInstructionSets(mpi));
  LEXTRA_ASSIGN_OR_RETURN(const RankInstructionSets common,
                          CommonInstructionSets(of_ranks));
  SetWhereRanksDiffer("matrix products", kProductsVariable,
                      NameOf(common.products), of_ranks,
                      &RankInstructionSets::products);
  SetWhereRanksDiffer("LibTorch", kLibTorchVariable,
                      CapabilityOf(common.libtorch), of_ranks,
                      &RankInstructionSets::libtorch);
  return CheckLibTorchObeys(mpi);
}

absl::Status CheckTensorGroups(DeviceMesh& mesh) {
  const std::string difference =
      DifferenceOverRanks(mesh.tensor(), NameOf(OfThisMachine()));
  absl::Status mine;
  if (!difference.empty()) {
    mine = UsageError(absl::StrFormat(
        "the %d ranks of this tensor group run on hosts with different "
        "instruction sets (%s), which round differently: place the ranks of a "
        "group on identical hosts (consecutive ranks form a group)",
        mesh.tensor().size(), difference));
  }
  return AgreeOnStatus(mesh.world(), mine);
}

}  // namespace lextra

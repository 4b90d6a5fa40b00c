#include "launch/same_start.h"

#include <ATen/Context.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/hash/digest.h"
#include "base/io/open_files.h"
#include "launch/instruction_set.h"
#include "launch/version.h"
#include "parallel/agreement.h"

namespace lextra {
namespace {

// Variables that choose operators: ops/attention_operators.h.
constexpr const char* kVariables[] = {"LEXTRA_ATTENTION"};

std::string DigestOfFile(const std::string& path) {
  const absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok()) return "none";
  Digest digest;
  digest.Add(file->bytes());
  return digest.Hex();
}

// The program and what it loads: its CUDA module by content, and LibTorch,
// which is half a gigabyte, by size.
std::string ProgramText() {
  std::error_code error;
  const std::filesystem::path folder =
      std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  Dl_info libtorch = {};
  uintmax_t libtorch_bytes = 0;
  if (dladdr(reinterpret_cast<const void*>(&at::globalContext), &libtorch)) {
    libtorch_bytes = std::filesystem::file_size(libtorch.dli_fname, error);
  }
  return absl::StrCat(ProgramName(), ", digest ",
                      DigestOfFile("/proc/self/exe"), ", CUDA module ",
                      DigestOfFile((folder / "lextra_cuda.so").string()),
                      ", LibTorch library of ", libtorch_bytes, " bytes");
}

std::vector<std::string> ArgumentsAndVariables(
    const std::vector<std::string>& command) {
  std::vector<std::string> words = command;
  for (const char* variable : kVariables) {
    if (const char* value = std::getenv(variable)) {
      words.push_back(absl::StrCat(variable, "=", value));
    }
  }
  return words;
}

absl::Status CheckSameWords(Communicator& world,
                            const std::vector<std::string>& words) {
  if (DifferenceOverRanks(world,
                          absl::StrJoin(words, absl::string_view("\0", 1)))
          .empty()) {
    return absl::OkStatus();
  }
  // The first that differs is the most informative; there is one.
  std::string difference;
  for (size_t i = 0; difference.empty(); ++i) {
    difference =
        DifferenceOverRanks(world, i < words.size() ? words[i] : "nothing");
  }
  return UsageError(absl::StrCat(
      "ranks were started with different arguments or variables: ", difference,
      "; start all of them alike"));
}

}  // namespace

absl::Status CheckSameStart(MpiSession& mpi,
                            const std::vector<std::string>& command) {
  LEXTRA_RETURN_IF_ERROR(AgreeOnInstructionSets(mpi));
  if (mpi.size() == 1) return absl::OkStatus();
  const std::unique_ptr<Communicator> world = mpi.World();
  const std::string programs = DifferenceOverRanks(*world, ProgramText());
  if (!programs.empty()) {
    return UsageError(absl::StrCat("ranks run different programs: ", programs,
                                   "; install the same build on all hosts"));
  }
  LEXTRA_RETURN_IF_ERROR(
      CheckSameWords(*world, ArgumentsAndVariables(command)));
  return world->Finalize();
}

}  // namespace lextra

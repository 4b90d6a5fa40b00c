// The rules of the house, held against the sources themselves: includes point
// only down the list of folders (docs/design.md), and some headers stay out.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "base/files.h"

namespace lextra {
namespace {

// What each folder may include, itself aside.
const std::map<std::string, std::set<std::string>>& AllowedArrows() {
  static const auto* arrows = new std::map<std::string, std::set<std::string>>{
      {"base", {}},
      {"config", {"base"}},
      {"parallel", {"base"}},
      {"data", {"base", "config"}},
      {"model", {"base", "config", "parallel"}},
      {"checkpoint", {"base", "config", "parallel"}},
      {"evaluator", {"base", "config", "parallel", "data", "model"}},
      {"trainer",
       {"base", "config", "parallel", "data", "model", "checkpoint",
        "evaluator"}},
      {"launch",
       {"base", "config", "parallel", "data", "model", "checkpoint",
        "evaluator", "trainer"}},
  };
  return *arrows;
}

struct Source {
  std::string folder;
  std::string path;
  std::string text;
};

std::vector<Source> Sources() {
  std::vector<Source> sources;
  const char* root = std::getenv("LEXTRA_SOURCE_DIR");
  for (const auto& [folder, unused] : AllowedArrows()) {
    const std::filesystem::path place =
        std::filesystem::path(root == nullptr ? "." : root) / folder;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(place)) {
      const std::string extension = entry.path().extension();
      if (extension != ".h" && extension != ".cc" && extension != ".cu") {
        continue;
      }
      sources.push_back({folder, entry.path(),
                         ReadFile(entry.path(), int64_t{1} << 24).value()});
    }
  }
  return sources;
}

std::vector<std::string> Matches(const std::string& text,
                                 const std::string& pattern) {
  std::vector<std::string> matches;
  const std::regex regex(pattern);
  for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end;
       ++it) {
    matches.push_back((*it)[1]);
  }
  return matches;
}

TEST(House, IncludesPointOnlyDown) {
  const std::vector<Source> sources = Sources();
  ASSERT_GT(sources.size(), 50u);
  for (const Source& source : sources) {
    for (const std::string& target :
         Matches(source.text, "#include \"([a-z_]+)/")) {
      if (target == source.folder || !AllowedArrows().contains(target)) {
        EXPECT_NE(target, "tests") << source.path;
        continue;
      }
      EXPECT_TRUE(AllowedArrows().at(source.folder).contains(target))
          << source.path << " includes " << target;
    }
  }
}

TEST(House, HeadersIncludeNeitherMpiNorNcclAndHaveNoFeatureIfdefs) {
  for (const Source& source : Sources()) {
    if (!source.path.ends_with(".h")) continue;
    EXPECT_TRUE(Matches(source.text, "#include [<\"]((mpi|nccl)\\.h)").empty())
        << source.path;
    EXPECT_TRUE(Matches(source.text, "(#if(def)? .*(CUDA|NCCL|MPI))").empty())
        << source.path;
  }
}

TEST(House, NothingIncludesTheWholeOfTorch) {
  for (const Source& source : Sources()) {
    EXPECT_TRUE(
        Matches(source.text,
                "(#include [<\"]torch/(torch|extension|all|script)\\.h)")
            .empty())
        << source.path;
  }
}

// Unpickling runs what the file says, and archives of torch are pickles: files
// of others are read by parsers of ours alone.
TEST(House, NothingReadsPicklesOrArchivesOfTorch) {
  for (const Source& source : Sources()) {
    const std::vector<std::string> found = Matches(
        source.text,
        "(torch::load|torch::pickle|torch::jit|torch::serialize|pickle_load|"
        "[Uu]npickle|THPVariable|InputArchive|PyTorchStreamReader|"
        "torch/csrc/jit|torch/serialize|caffe2/serialize|Python\\.h)");
    EXPECT_TRUE(found.empty()) << source.path << " has " << found.front();
  }
}

}  // namespace
}  // namespace lextra

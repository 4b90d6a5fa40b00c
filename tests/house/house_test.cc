// The rules of the house, held against the sources themselves: includes point
// only down the ladder of rooms (docs/design.md), a room is one library, and
// some headers stay out.
#include <gtest/gtest.h>

#include <cctype>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "base/io/files.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;

using Rooms = std::set<std::string>;

const Rooms kBase = {"base", "base/hash", "base/io"};

Rooms operator+(Rooms left, const Rooms& right) {
  left.insert(right.begin(), right.end());
  return left;
}

// What each room may include, itself aside. A folder's own headers are open to
// its sub-folders where that is said here.
const std::map<std::string, Rooms>& Ladder() {
  static const auto* ladder = [] {
    auto* rooms = new std::map<std::string, Rooms>{
        {"base", {}},
        {"base/hash", {"base"}},
        {"base/io", {"base"}},
        {"config", kBase},
        {"data", kBase + Rooms{"data/text"}},
        {"data/text", kBase},
        {"data/samples", kBase + Rooms{"data"}},
        {"launch/arguments", kBase + Rooms{"checkpoint/files"}},
        {"ops", kBase + Rooms{"ops/cpu", "ops/cuda"}},
        {"ops/cpu", {"base", "ops"}},
        {"ops/cuda", {"ops"}},
        {"parallel", kBase + Rooms{"parallel/activity"}},
        {"parallel/activity", kBase},
        {"parallel/mpi", kBase + Rooms{"parallel", "parallel/activity"}},
        {"parallel/watchdog",
         kBase + Rooms{"parallel/activity", "parallel/mpi"}},
        {"parallel/nccl",
         kBase + Rooms{"ops", "parallel", "parallel/activity"}},
        {"parallel/data_parallel", kBase + Rooms{"parallel"}},
        {"parallel/tensor_parallel",
         kBase + Rooms{"ops", "ops/cpu", "ops/cuda", "parallel"}},
        {"parallel/context_parallel", kBase + Rooms{"parallel"}},
    };
    const Rooms operators = {"ops", "ops/cpu", "ops/cuda"};
    (*rooms)["model/position"] =
        kBase + operators +
        Rooms{"config", "model", "parallel", "parallel/tensor_parallel"};
    (*rooms)["model/attention"] =
        kBase + Rooms{"config", "model",    "model/position",
                      "ops",    "parallel", "parallel/context_parallel"};
    (*rooms)["model"] = kBase + operators +
                        Rooms{"config", "model/attention", "model/position",
                              "parallel", "parallel/tensor_parallel"};
    // Sees named ShardedTensors, never the model.
    (*rooms)["checkpoint/files"] = kBase;
    (*rooms)["checkpoint"] =
        kBase + Rooms{"checkpoint/files", "config", "parallel"};
    const Rooms models =
        kBase + Rooms{"config",         "data",
                      "model",          "model/attention",
                      "model/position", "ops",
                      "parallel",       "parallel/context_parallel"};
    (*rooms)["evaluator/scoring"] = models;
    (*rooms)["evaluator"] = models + Rooms{"evaluator/scoring"};
    (*rooms)["evaluator/resolution"] = (*rooms)["evaluator/synthetic"] =
        models + Rooms{"evaluator", "evaluator/scoring"};
    // They read files alone.
    (*rooms)["evaluator/html"] = {"base"};
    (*rooms)["evaluator/report"] = kBase + Rooms{"config", "evaluator/html"};
    (*rooms)["trainer/optimizer"] =
        kBase + Rooms{"config", "parallel", "parallel/data_parallel"};
    (*rooms)["trainer/profile"] = kBase + Rooms{"config", "parallel"};
    (*rooms)["trainer"] = models + Rooms{"checkpoint",
                                         "data/samples",
                                         "checkpoint/files",
                                         "evaluator",
                                         "evaluator/scoring",
                                         "parallel/data_parallel",
                                         "parallel/tensor_parallel",
                                         "trainer/optimizer",
                                         "trainer/profile"};
    Rooms all;
    for (const auto& [room, unused] : *rooms) all.insert(room);
    (*rooms)["launch"] = all;
    return rooms;
  }();
  return *ladder;
}

fs::path Root() {
  const char* root = std::getenv("LEXTRA_SOURCE_DIR");
  return root == nullptr ? "." : root;
}

struct Source {
  std::string room;  // "parallel/mpi"
  std::string path;  // "parallel/mpi/mpi_session.h"
  std::string text;
};

bool IsSource(const fs::path& path) {
  static const std::set<std::string> extensions = {".h", ".cc", ".cu", ".cuh",
                                                   ".inc"};
  return extensions.contains(path.extension());
}

// What people read: sources, scripts and documents. Results are as they were
// recorded.
std::vector<fs::path> Texts() {
  static const std::set<std::string> extensions = {
      ".h",     ".cc", ".cu", ".cuh",       ".inc",   ".md",
      ".proto", ".sh", ".py", ".textproto", ".cmake", ".txt"};
  std::vector<fs::path> texts;
  for (auto entry = fs::recursive_directory_iterator(Root());
       entry != fs::recursive_directory_iterator(); ++entry) {
    const fs::path path = fs::relative(entry->path(), Root());
    const std::string name = path.filename();
    const bool is_ours = path != "build" && path != "tests/golden" &&
                         path != "tests/fuzz/corpus" && path != "runs" &&
                         path != "data/text/testdata" && name[0] != '.' &&
                         !name.starts_with("build");
    if (entry->is_directory()) {
      if (!is_ours || path == "docs/results") entry.disable_recursion_pending();
    } else if (is_ours && extensions.contains(path.extension())) {
      texts.push_back(path);
    }
  }
  return texts;
}

std::vector<Source> Sources() {
  std::set<std::string> folders;
  for (const auto& [room, unused] : Ladder()) {
    folders.insert(room.substr(0, room.find('/')));
  }
  std::vector<Source> sources;
  for (const std::string& folder : folders) {
    for (const auto& entry :
         fs::recursive_directory_iterator(Root() / folder)) {
      if (!IsSource(entry.path())) continue;
      const fs::path path = fs::relative(entry.path(), Root());
      sources.push_back({path.parent_path(), path,
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
    ASSERT_TRUE(Ladder().contains(source.room))
        << source.path << " lies in a room that the ladder does not name";
    for (const std::string& target :
         Matches(source.text, "#include \"([a-z_/]+)/[^/\"]+\"")) {
      EXPECT_NE(target.substr(0, 5), "tests") << source.path;
      if (target == source.room || !Ladder().contains(target)) continue;
      EXPECT_TRUE(Ladder().at(source.room).contains(target))
          << source.path << " includes " << target;
    }
  }
}

TEST(House, EverySubfolderIsOneLibraryWithAShortReadme) {
  for (const auto& [room, unused] : Ladder()) {
    const std::string build =
        ReadFile(Root() / room / "CMakeLists.txt", 1 << 20).value_or("");
    EXPECT_FALSE(Matches(build, "((project_library|add_library)\\()").empty())
        << room << " makes no library";
    // All sources of a library lie in its own folder.
    EXPECT_TRUE(Matches(build, "[ (]([a-z_]+/[a-z_]+\\.c[cu])\\b").empty())
        << room;
    const absl::StatusOr<std::string> readme =
        ReadFile(Root() / room / "README.md", 1 << 20);
    ASSERT_TRUE(readme.ok()) << room << " has no README.md";
    EXPECT_LE(std::count(readme->begin(), readme->end(), '\n'), 10) << room;
  }
}

TEST(House, NoFolderIsCrowded) {
  std::map<std::string, int> sizes;
  for (const Source& source : Sources()) ++sizes[source.room];
  for (const auto& [room, size] : sizes) {
    EXPECT_LE(size, room.find('/') == std::string::npos ? 28 : 18) << room;
  }
}

TEST(House, NoFileIsLongerThanFourHundredLines) {
  for (const Source& source : Sources()) {
    EXPECT_LE(std::count(source.text.begin(), source.text.end(), '\n'), 400)
        << source.path;
  }
}

// In lower case, as one line: what lies between two words, the ends of lines
// with their quotes and comment marks included, is one blank.
std::string Flattened(const std::string& text) {
  std::string flat = " ";
  for (const char c : text) {
    const bool is_word =
        std::isalnum(static_cast<unsigned char>(c)) || c == '_';
    if (is_word) {
      flat += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (flat.back() != ' ' && std::strchr(" \n\"/#", c) != nullptr) {
      flat += ' ';
    } else if (std::strchr(" \n\"/#", c) == nullptr) {
      flat += c;
    }
  }
  return flat + " ";
}

TEST(House, NoTextHasAPhraseThatIsNotUsed) {
  const char* const phrases[] = {
      "goes on",      "go on",        "beside",       "for ever",  "nobody",
      "anew",         "stood still",  "stands still", "known are", "in vain",
      "sign of life", "stands there", "stand there"};
  for (const fs::path& path : Texts()) {
    if (path == "docs/style.md" || path == "tests/house/house_test.cc")
      continue;
    const std::string text =
        Flattened(ReadFile(Root() / path, int64_t{1} << 24).value());
    for (const std::string phrase : phrases) {
      for (size_t at = text.find(phrase); at != std::string::npos;
           at = text.find(phrase, at + 1)) {
        const char before = text[at - 1];
        const char after = text[at + phrase.size()];
        EXPECT_TRUE(std::isalnum(before) || std::isalnum(after) ||
                    before == '_' || after == '_')
            << path << " says \"" << phrase << "\"";
      }
    }
  }
}

TEST(House, IncludeGuardsAreThePaths) {
  for (const Source& source : Sources()) {
    if (!source.path.ends_with(".h")) continue;
    std::string guard = "LEXTRA_" + source.path + "_";
    for (char& c : guard) c = c == '/' || c == '.' ? '_' : std::toupper(c);
    EXPECT_NE(source.text.find("#ifndef " + guard + "\n#define " + guard),
              std::string::npos)
        << source.path << ": expected " << guard;
  }
}

TEST(House, HeadersOpenWithAComment) {
  for (const Source& source : Sources()) {
    if (!source.path.ends_with(".h")) continue;
    EXPECT_TRUE(source.text.starts_with("//")) << source.path;
  }
}

TEST(House, WhatNeedsNoLibTorchHasNone) {
  const Rooms without = {"base",
                         "base/hash",
                         "base/io",
                         "config",
                         "data",
                         "data/samples",
                         "data/text",
                         "launch/arguments",
                         "ops/cuda",
                         "parallel/activity",
                         "parallel/watchdog",
                         "checkpoint/files",
                         "evaluator/html",
                         "evaluator/report"};
  for (const Source& source : Sources()) {
    if (!without.contains(source.room)) continue;
    EXPECT_TRUE(
        Matches(source.text, "#include <((ATen|c10|torch)/[^>]*)>").empty())
        << source.path;
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

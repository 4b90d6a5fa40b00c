// Runs a fuzz target over its stored corpus.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz_input.h"

namespace {

TEST(Corpus, IsReadWithoutABrokenPromise) {
  const char* corpus = std::getenv("LEXTRA_CORPUS");
  ASSERT_NE(corpus, nullptr) << "set LEXTRA_CORPUS to a folder of inputs";
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(corpus)) {
    paths.push_back(entry.path());
  }
  ASSERT_GE(paths.size(), 5u) << corpus;
  std::sort(paths.begin(), paths.end());
  for (const std::string& path : paths) {
    std::ifstream file(path, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    // A broken promise ends the process: say where before it does.
    std::fprintf(stderr, "%s\n", path.c_str());
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()),
                           bytes.size());
  }
}

}  // namespace

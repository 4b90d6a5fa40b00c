// What fuzz targets share. A broken promise ends the process, which is what
// libFuzzer and the replay take for a failure.
#ifndef LEXTRA_TESTS_FUZZ_FUZZ_INPUT_H_
#define LEXTRA_TESTS_FUZZ_FUZZ_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tests/testing/temporary_folder.h"

#define FUZZ_CHECK(condition)                                       \
  if (!(condition)) {                                               \
    std::fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, \
                 #condition);                                       \
    std::abort();                                                   \
  }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace lextra::fuzz {

inline std::string Text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// The `count` parts between lines of %%; those that are missing are empty, and
// the last is all that is left.
inline std::vector<std::string> Parts(std::string_view input, size_t count) {
  constexpr std::string_view kCut = "\n%%\n";
  std::vector<std::string> parts;
  while (parts.size() + 1 < count) {
    const size_t end = input.find(kCut);
    parts.emplace_back(input.substr(0, end));
    input = end == std::string_view::npos ? std::string_view()
                                          : input.substr(end + kCut.size());
  }
  parts.emplace_back(input);
  return parts;
}

// Writes a file of this process's folder and returns its path.
inline std::string Put(const std::string& name, std::string_view bytes) {
  static const testing::TemporaryFolder folder;
  const std::string path = folder / name;
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  return path;
}

// A refusal is of the class expected, and one line of bounded length whatever
// the input holds.
inline void CheckRefusal(const absl::Status& status, ExitCode code,
                         bool many_lines = false) {
  FUZZ_CHECK(ExitCodeOf(status) == code);
  FUZZ_CHECK(!status.message().empty());
  FUZZ_CHECK(status.message().size() <= 8192);
  for (const char c : status.message()) {
    FUZZ_CHECK((c >= 0 && c < 32) ? many_lines && c == '\n' : c != 127);
  }
}

}  // namespace lextra::fuzz

#endif  // LEXTRA_TESTS_FUZZ_FUZZ_INPUT_H_

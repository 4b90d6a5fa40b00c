// What a test finds in its folder, read without the code under test.
#ifndef LEXTRA_TESTS_BASE_IO_FOLDER_CONTENTS_H_
#define LEXTRA_TESTS_BASE_IO_FOLDER_CONTENTS_H_

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

namespace lextra::testing {

// The bytes of a file; none where it can't be read.
inline std::string Get(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::set<std::string> NamesIn(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.insert(entry.path().filename());
  }
  return names;
}

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_BASE_IO_FOLDER_CONTENTS_H_

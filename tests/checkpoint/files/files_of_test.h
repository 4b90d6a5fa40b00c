// A folder for the files of one test, without LibTorch.
#ifndef LEXTRA_TESTS_CHECKPOINT_FILES_FILES_OF_TEST_H_
#define LEXTRA_TESTS_CHECKPOINT_FILES_FILES_OF_TEST_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace lextra {

class FilesOfTest : public ::testing::Test {
 protected:
  FilesOfTest() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "lextra-files-XXXXXX")
            .string();
    folder_ = mkdtemp(pattern.data());
  }
  ~FilesOfTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const {
    return folder_ + "/" + name;
  }

  // Writes the bytes and returns the path.
  std::string Put(const std::string& name, std::string_view bytes) const {
    std::ofstream(Path(name), std::ios::binary) << bytes;
    return Path(name);
  }

  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
};

}  // namespace lextra

#endif  // LEXTRA_TESTS_CHECKPOINT_FILES_FILES_OF_TEST_H_

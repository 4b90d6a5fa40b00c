// A folder of a test's own, removed when the object goes.
#ifndef LEXTRA_TESTS_TESTING_TEMPORARY_FOLDER_H_
#define LEXTRA_TESTS_TESTING_TEMPORARY_FOLDER_H_

#include <cstdlib>
#include <filesystem>
#include <string>

namespace lextra::testing {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    path_ = (std::filesystem::temp_directory_path() / "lextra-test-XXXXXX");
    path_ = mkdtemp(path_.data());
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const {
    return path_ + "/" + name;
  }

 private:
  std::string path_;
};

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_TESTING_TEMPORARY_FOLDER_H_

#include "data/corpus_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "tests/data/token_files.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::WriteText;

class CorpusFilesTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const {
    return folder_.path() + "/" + name;
  }
  // In folders that are made on the way.
  void Write(const std::string& name, const std::string& text = "x") {
    fs::create_directories(fs::path(Path(name)).parent_path());
    WriteText(Path(name), text);
  }
  void WriteTokenData(const std::string& prefix) {
    Write(prefix + ".bin", testing::Tokens({1, 2, 256}, 2));
    Write(prefix + ".idx", testing::Index({3}, 2, 8).Bytes());
    Write(prefix + ".meta.json", testing::Meta(257, 256, 1, 3));
  }
  CorpusFiles List(const std::vector<std::string>& inputs,
                   const std::vector<std::string>& extensions = {}) {
    CorpusOptions options;
    options.extensions = extensions;
    std::vector<std::string> paths;
    for (const std::string& input : inputs) paths.push_back(Path(input));
    absl::StatusOr<CorpusFiles> found = ListCorpus(paths, options);
    EXPECT_TRUE(found.ok()) << found.status();
    if (!found.ok()) return {};
    for (std::string& path : found->paths) {
      path = path.substr(folder_.path().size() + 1);
    }
    return *std::move(found);
  }
  std::string Refusal(const std::string& input,
                      const CorpusOptions& options = {}) {
    const absl::Status status = ListCorpus({input}, options).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput) << status;
    return std::string(status.message());
  }

  const TemporaryFolder folder_;
};

TEST_F(CorpusFilesTest, ListsFoldersRecursivelyInSortedOrder) {
  for (const std::string name :
       {"data/z.py", "data/a.txt", "data/b/c/k.py", "data/b/x.py.gz",
        "data/.git/y.py", "data/.hidden.py", "data/happy", "one.txt"}) {
    Write(name);
  }
  fs::create_directories(Path("data/empty"));
  const CorpusFiles all = List({"one.txt", "data"});
  EXPECT_THAT(all.paths,
              ElementsAre("one.txt", "data/a.txt", "data/b/c/k.py",
                          "data/b/x.py.gz", "data/happy", "data/z.py"));
  EXPECT_EQ(all.stored_bytes, 6);
  EXPECT_EQ(SkippedText(all.skipped), "2 hidden entries");
  // A file that was named is taken whatever its name.
  const CorpusFiles some = List({"one.txt", "data"}, {".py"});
  EXPECT_THAT(some.paths, ElementsAre("one.txt", "data/b/c/k.py",
                                      "data/b/x.py.gz", "data/z.py"));
  EXPECT_EQ(some.skipped.other_extensions, 2);
}

TEST_F(CorpusFilesTest, MatchesExtensionsWithAndWithoutGzInAnyCase) {
  for (const std::string name :
       {"in/a.jsonl.gz", "in/b.JSONL.GZ", "in/c.jsonl", "in/d.txt.gz"}) {
    Write(name);
  }
  EXPECT_THAT(List({"in"}, {".jsonl.gz"}).paths,
              ElementsAre("in/a.jsonl.gz", "in/b.JSONL.GZ"));
  EXPECT_THAT(List({"in"}, {".gz"}).paths,
              ElementsAre("in/a.jsonl.gz", "in/b.JSONL.GZ", "in/d.txt.gz"));
  EXPECT_THAT(List({"in"}, {".JsonL"}).paths,
              ElementsAre("in/a.jsonl.gz", "in/b.JSONL.GZ", "in/c.jsonl"));
}

TEST_F(CorpusFilesTest, CountsAFileOnceHoweverItIsReached) {
  Write("in/a");
  Write("in/sub/b");
  fs::create_hard_link(Path("in/a"), Path("in/hard"));
  fs::create_symlink("a", Path("in/soft"));
  const CorpusFiles found = List({"in/sub/b", "in", "in/sub", "in/a", "in"});
  EXPECT_THAT(found.paths, ElementsAre("in/sub/b", "in/a"));
  // in/sub/b again, hard, soft and in/a again.
  EXPECT_EQ(found.skipped.repeated_files, 4);
  EXPECT_EQ(found.skipped.repeated_folders, 2);
  EXPECT_EQ(SkippedText(found.skipped),
            "4 duplicate files, 2 duplicate folders");
  // A folder all of which was reached before is no folder without files.
  EXPECT_THAT(List({"in/sub", "in/sub"}).paths, ElementsAre("in/sub/b"));
}

TEST_F(CorpusFilesTest, FollowsLinkedFoldersOnceAndInNoCircle) {
  Write("in/real/a");
  Write("other/b");
  fs::create_directory_symlink(Path("other"), Path("in/linked"));
  fs::create_directory_symlink("real", Path("in/also real"));
  fs::create_directory_symlink("..", Path("in/real/up"));
  fs::create_directory_symlink("loop", Path("in/loop"));
  fs::create_symlink("nowhere", Path("in/broken"));
  ASSERT_EQ(mkfifo(Path("in/pipe").c_str(), 0600), 0);
  const CorpusFiles found = List({"in"});
  EXPECT_THAT(found.paths, ElementsAre("in/linked/b", "in/real/a"));
  EXPECT_EQ(found.skipped.repeated_folders, 2);
  EXPECT_EQ(found.skipped.broken_links, 2);
  EXPECT_EQ(found.skipped.special, 1);
}

TEST_F(CorpusFilesTest, SkipsTokenDataSets) {
  Write("in/a.txt");
  WriteTokenData("in/p-train");
  WriteTokenData("in/of others");
  // Of a data set that lost its index or was never complete.
  Write("in/q-train.bin", testing::Tokens({1, 2, 256}, 2));
  Write("in/q-train.meta.json", testing::Meta(257, 256, 1, 3));
  Write("in/r-train.bin.tmp-1234", testing::Tokens({1, 2, 256}, 2));
  const CorpusFiles found = List({"in"});
  EXPECT_THAT(found.paths, ElementsAre("in/a.txt"));
  EXPECT_EQ(SkippedText(found.skipped), "9 files of token data sets");
  EXPECT_THAT(
      Refusal(Path("in/p-train.bin")),
      HasSubstr("no readable files; skipped: 1 file of token data sets"));
  // Names alone say little.
  Write("in/c.meta.json", "{\"text\": \"a\"}\n");
  Write("in/d.bin", "a text");
  EXPECT_THAT(List({"in"}).paths,
              ElementsAre("in/a.txt", "in/c.meta.json", "in/d.bin"));
}

TEST_F(CorpusFilesTest, SkipsWhatIsAboutToBeReplaced) {
  Write("in/a.txt");
  Write("in/p-train.bin", testing::Tokens({1, 2, 256}, 2));
  CorpusOptions options;
  EXPECT_THAT(Refusal(Path("in"), options), HasSubstr("binary"));
  options.outputs = {Path("in/../in/p-train")};
  const auto found = ListCorpus({Path("in")}, options);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->skipped.token_data, 1);
}

TEST_F(CorpusFilesTest, RefusesOtherFormatsBeforeAnyIsRead) {
  Write("in/a.txt");
  Write("in/b.zst", "\x28\xB5\x2F\xFD\x04");
  EXPECT_THAT(Refusal(Path("in")),
              HasSubstr("in/b.zst: unsupported format: zstd data; "));
  Write("in/c.png", std::string("\x89PNG\0", 5));
  EXPECT_THAT(Refusal(Path("in")),
              AllOf(HasSubstr("in/b.zst: unsupported format: zstd data; "),
                    HasSubstr("(one of 2 such files; --skip_other_formats "
                              "skips them)")));
  CorpusOptions options;
  options.skip_other_formats = true;
  const auto found = ListCorpus({Path("in")}, options);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(found->paths, ElementsAre(Path("in/a.txt")));
  EXPECT_EQ(SkippedText(found->skipped),
            "1 file of binary data, 1 file of zstd data");
}

TEST_F(CorpusFilesTest, RefusesInputsThatAreNotThere) {
  CorpusOptions python;
  python.extensions = {".py"};
  EXPECT_EQ(Refusal(Path("none"), python),
            Path("none") + ": No such file or directory");
  EXPECT_EQ(Refusal("/dev/null", python), "/dev/null: not a file or a folder");
  fs::create_directories(Path("empty"));
  EXPECT_EQ(Refusal(Path("empty"), python),
            Path("empty") + ": no files with the extension .py");
}

TEST_F(CorpusFilesTest, EndsWithTheErrorOfItsCheck) {
  Write("in/a.txt");
  CorpusOptions options;
  options.check = [] { return Preempted("stopped"); };
  EXPECT_EQ(ExitCodeOf(ListCorpus({Path("in")}, options).status()),
            ExitCode::kPreempted);
}

}  // namespace
}  // namespace lextra

#include "data/document_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "tests/data/token_files.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ReadText;
using testing::TemporaryFolder;
using testing::WriteText;

void WriteGzip(const std::string& path, const std::string& bytes) {
  const gzFile file = gzopen(path.c_str(), "ab");  // another member, if there
  ASSERT_EQ(gzwrite(file, bytes.data(), bytes.size()), std::ssize(bytes));
  ASSERT_EQ(gzclose(file), Z_OK);
}

class DocumentReaderTest : public ::testing::Test {
 protected:
  absl::Status Read(const std::string& name) {
    documents_.clear();
    return reader_.Read(Path(name), [this](std::string_view text) {
      documents_.emplace_back(text);
      return absl::OkStatus();
    });
  }
  void ExpectRefused(const std::string& name, const std::string& words) {
    const absl::Status status = Read(name);
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(Path(name)), HasSubstr(words)));
  }
  std::string Path(const std::string& name) const {
    return folder_.path() + "/" + name;
  }

  const TemporaryFolder folder_;
  std::vector<std::string> documents_;
  DocumentReader reader_{ReadOptions()};
};

// Longer than the first buffer, with every byte value.
std::string LongText() {
  std::string text;
  for (int64_t i = 0; i < 3'000'000; ++i) {
    text += static_cast<char>(i * i >> 3);
  }
  return text;
}

TEST_F(DocumentReaderTest, TakesATextFileAsOneDocumentByteByByte) {
  const std::string text("a\r\n\r\n\n\0\xff b", 10);
  WriteText(Path("a.txt"), text);
  ASSERT_TRUE(Read("a.txt").ok());
  EXPECT_THAT(documents_, ElementsAre(text));
  WriteText(Path("long.py"), LongText());
  ASSERT_TRUE(Read("long.py").ok());
  ASSERT_EQ(documents_.size(), 1u);
  EXPECT_TRUE(documents_[0] == LongText());
  WriteText(Path("empty"), "");
  ASSERT_TRUE(Read("empty").ok());
  EXPECT_THAT(documents_, ElementsAre(""));
}

TEST_F(DocumentReaderTest, SplitsTextAtBlankLines) {
  reader_ = DocumentReader({.split_blank_lines = true});
  WriteText(Path("a.txt"), "\n\none\ntwo\n\n \t\r\nthree\r\n\r\nlast");
  ASSERT_TRUE(Read("a.txt").ok());
  EXPECT_THAT(documents_, ElementsAre("one\ntwo\n", "three\r\n", "last"));
  WriteText(Path("empty.txt"), "\n \n");
  ASSERT_TRUE(Read("empty.txt").ok());
  EXPECT_THAT(documents_, ElementsAre());
}

TEST_F(DocumentReaderTest, ReadsTheTextOfJsonLines) {
  WriteText(Path("a.jsonl"),
            "{\"id\": {\"text\": \"no\"}, \"text\": "
            "\"a\\n\\u00e9\\ud83d\\ude00\"}\r\n"
            "\n  \n"
            "{\"text\": \"\", \"more\": [1, {\"text\": 2}]}\n"
            "{\"text\": \"last\"}");
  ASSERT_TRUE(Read("a.jsonl").ok());
  EXPECT_THAT(documents_,
              ElementsAre("a\n\xc3\xa9\xf0\x9f\x98\x80", "", "last"));
}

TEST_F(DocumentReaderTest, ReadsJsonLinesAcrossBuffers) {
  std::string jsonl;
  std::vector<std::string> expected;
  for (int i = 0; i < 5; ++i) {
    expected.emplace_back(700'000 + 300'000 * i, static_cast<char>('a' + i));
    jsonl += "{\"text\": \"" + expected.back() + "\"}\n";
  }
  WriteText(Path("a.jsonl"), jsonl);
  ASSERT_TRUE(Read("a.jsonl").ok());
  EXPECT_TRUE(documents_ == expected);
}

TEST_F(DocumentReaderTest, TakesAnotherTextKey) {
  reader_ = DocumentReader({.text_key = "content"});
  WriteText(Path("a.jsonl"), "{\"text\": \"no\", \"content\": \"yes\"}\n");
  ASSERT_TRUE(Read("a.jsonl").ok());
  EXPECT_THAT(documents_, ElementsAre("yes"));
}

TEST_F(DocumentReaderTest, RefusesABadJsonLineByItsNumber) {
  const std::string good = "{\"text\": \"a\"}\n\n";
  for (const auto& [line, words] :
       {std::pair<std::string, std::string>{"{\"text\": \"a\"", "valid JSON"},
        {"{\"text\": \"a\"} {}", "not valid JSON at byte 15"},
        {"{\"text\": \"\xff\"}", "not valid JSON"},
        {"text", "not valid JSON"},
        {"{\"body\": \"a\", \"id\": 3}",
         "no key 'text' in this object; it has body, id"},
        {"{}", "no key 'text'"},
        {"{\"more\": {\"text\": \"a\"}}", "no key 'text'"},
        {"{\"text\": 7}", "'text' is a number, expected a string"},
        {"{\"text\": null}", "'text' is null, expected a string"},
        {"{\"text\": [\"a\"]}", "'text' is an array, expected a string"},
        {"{\"text\": {\"a\": \"b\"}}", "'text' is an object, expected"},
        {"{\"text\": \"a\", \"text\": \"b\"}", "'text' stands there twice"},
        {"[{\"text\": \"a\"}]", "expected a JSON object, found an array"},
        {"\"a\"", "expected a JSON object, found a string"},
        {std::string(100'000, '['), "not valid JSON"}}) {
    WriteText(Path("bad.jsonl"), good + line + "\n" + good);
    ExpectRefused("bad.jsonl", words);
    EXPECT_THAT(std::string(Read("bad.jsonl").message()),
                HasSubstr("bad.jsonl:3: "));
  }
}

TEST_F(DocumentReaderTest, UnpacksGzipAlsoOfSeveralMembers) {
  WriteGzip(Path("a.txt.gz"), LongText());
  WriteGzip(Path("a.txt.gz"), "and more");
  ASSERT_TRUE(Read("a.txt.gz").ok());
  ASSERT_EQ(documents_.size(), 1u);
  EXPECT_TRUE(documents_[0] == LongText() + "and more");
  WriteGzip(Path("a.jsonl.gz"), "{\"text\": \"one\"}\n{\"text\": ");
  WriteGzip(Path("a.jsonl.gz"), "\"two\"}\n");
  ASSERT_TRUE(Read("a.jsonl.gz").ok());
  EXPECT_THAT(documents_, ElementsAre("one", "two"));
  WriteGzip(Path("empty.txt.gz"), "");
  ASSERT_TRUE(Read("empty.txt.gz").ok());
  EXPECT_THAT(documents_, ElementsAre(""));
}

TEST_F(DocumentReaderTest, RefusesAGzipCutOffAnywhere) {
  WriteGzip(Path("a.txt.gz"), "some text that is packed");
  const std::string packed = ReadText(Path("a.txt.gz"));
  for (size_t size = 0; size < packed.size(); ++size) {
    WriteText(Path("cut.txt.gz"), packed.substr(0, size));
    ExpectRefused("cut.txt.gz", "cut off");
  }
  for (size_t size = 1; size < packed.size(); ++size) {  // the second member
    WriteText(Path("cut.txt.gz"), packed + packed.substr(0, size));
    ExpectRefused("cut.txt.gz", "cut off");
  }
}

TEST_F(DocumentReaderTest, RefusesADamagedGzip) {
  WriteText(Path("text.gz"), "this was never packed");
  ExpectRefused("text.gz", "not gzip data, or damaged");
  WriteGzip(Path("a.gz"), "some text");
  std::string packed = ReadText(Path("a.gz"));
  WriteText(Path("more.gz"), packed + "something else");
  ExpectRefused("more.gz", "not gzip data, or damaged");
  packed[packed.size() - 6] ^= 1;  // its checksum
  WriteText(Path("flipped.gz"), packed);
  ExpectRefused("flipped.gz", "incorrect data check");
}

TEST_F(DocumentReaderTest, DropsAndCountsByteOrderMarks) {
  const std::string mark = "\xEF\xBB\xBF";
  WriteText(Path("a.txt"), mark + "a" + mark);
  ASSERT_TRUE(Read("a.txt").ok());
  EXPECT_THAT(documents_, ElementsAre("a" + mark));
  WriteText(Path("a.jsonl"), mark + "{\"text\": \"b\"}");
  ASSERT_TRUE(Read("a.jsonl").ok());
  EXPECT_THAT(documents_, ElementsAre("b"));
  EXPECT_EQ(reader_.num_byte_order_marks(), 2);
  WriteText(Path("b.txt"), "c");
  ASSERT_TRUE(Read("b.txt").ok());
  EXPECT_EQ(reader_.num_byte_order_marks(), 2);
}

// Both at the bound and one byte beyond, across the first buffer's end.
TEST_F(DocumentReaderTest, RefusesDocumentsAndLinesBeyondTheBound) {
  for (const size_t bound : {size_t{1000}, (size_t{1} << 20) + 1000}) {
    const std::string text(bound, 'a');
    const std::string line = "{\"text\": \"" + text.substr(12) + "\"}";
    ASSERT_EQ(line.size(), bound);
    WriteText(Path("most.txt"), text);
    WriteText(Path("more.txt"), text + "a");
    WriteText(Path("most.jsonl"), line + "\n" + line);
    WriteText(Path("more.jsonl"), line + "\n" + line + " ");
    for (const bool split_blank_lines : {false, true}) {
      reader_ = DocumentReader({.split_blank_lines = split_blank_lines,
                                .max_document_bytes = bound + 1});
      EXPECT_TRUE(Read("most.jsonl").ok());
      EXPECT_EQ(documents_.size(), 2u);
      reader_ = DocumentReader({.split_blank_lines = split_blank_lines,
                                .max_document_bytes = bound});
      EXPECT_TRUE(Read("most.txt").ok());
      EXPECT_EQ(documents_.at(0).size(), bound);
      ExpectRefused("more.txt", absl::StrCat("longer than ", bound, " bytes"));
      ExpectRefused("more.jsonl", absl::StrCat("more.jsonl:1: the line is "
                                               "longer than ",
                                               bound, " bytes"));
    }
  }
}

TEST_F(DocumentReaderTest, StopsAGzipBombAtTheBound) {
  reader_ = DocumentReader({.max_document_bytes = size_t{3} << 20});
  const std::string bomb(64 << 20, ' ');
  WriteGzip(Path("bomb.txt.gz"), bomb);
  WriteGzip(Path("bomb.jsonl.gz"), bomb);
  ExpectRefused("bomb.txt.gz", "longer than 3145728 bytes");
  EXPECT_LT(reader_.stored_bytes(), 100'000);
  ExpectRefused("bomb.jsonl.gz", "bomb.jsonl.gz:1: the line is longer than");
}

TEST_F(DocumentReaderTest, AHostileKeyStaysOnTheErrorsLine) {
  WriteText(Path("a.jsonl"), "{\"id\\n\\u001b[2J\": 1}\n");
  ExpectRefused("a.jsonl", "it has id\\x0a\\x1b[2J (choose");
}

TEST_F(DocumentReaderTest, EndsWithTheVisitorsError) {
  WriteText(Path("a.jsonl"), "{\"text\": \"a\"}\n{\"text\": \"b\"}\n");
  int visits = 0;
  const absl::Status status =
      reader_.Read(Path("a.jsonl"), [&visits](std::string_view) {
        ++visits;
        return StorageError("full");
      });
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
  EXPECT_EQ(visits, 1);
}

TEST_F(DocumentReaderTest, CountsStoredBytes) {
  WriteText(Path("a.txt"), "12345");
  WriteGzip(Path("b.gz"), std::string(100'000, 'x'));
  ASSERT_TRUE(Read("a.txt").ok());
  EXPECT_EQ(reader_.stored_bytes(), 5);
  ASSERT_TRUE(Read("b.gz").ok());
  EXPECT_EQ(reader_.stored_bytes(), 5 + std::ssize(ReadText(Path("b.gz"))));
}

TEST_F(DocumentReaderTest, ListsFoldersRecursivelyInSortedOrder) {
  std::filesystem::create_directories(Path("data/b/c"));
  std::filesystem::create_directories(Path("data/.git"));
  std::filesystem::create_directories(Path("data/empty"));
  for (const std::string name :
       {"data/z.py", "data/a.txt", "data/b/c/k.py", "data/b/x.py.gz",
        "data/.git/y.py", "data/.hidden.py", "data/happy", "one.txt"}) {
    WriteText(Path(name), "x");
  }
  const auto all = ListInputFiles({Path("one.txt"), Path("data")}, {});
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_THAT(*all, ElementsAre(Path("one.txt"), Path("data/a.txt"),
                                Path("data/b/c/k.py"), Path("data/b/x.py.gz"),
                                Path("data/happy"), Path("data/z.py")));
  // A file that was named is taken whatever its name.
  const auto some = ListInputFiles({Path("one.txt"), Path("data")}, {".py"});
  ASSERT_TRUE(some.ok()) << some.status();
  EXPECT_THAT(*some, ElementsAre(Path("one.txt"), Path("data/b/c/k.py"),
                                 Path("data/b/x.py.gz"), Path("data/z.py")));
}

TEST_F(DocumentReaderTest, RefusesInputsThatAreNotThere) {
  const auto message = [](const std::string& input) {
    const absl::Status status = ListInputFiles({input}, {".py"}).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
    return std::string(status.message());
  };
  EXPECT_EQ(message(Path("none")),
            Path("none") + ": No such file or directory");
  EXPECT_EQ(message("/dev/null"), "/dev/null: not a file or a folder");
  std::filesystem::create_directories(Path("empty"));
  EXPECT_EQ(
      message(Path("empty")),
      Path("empty") + ": no file in this folder has a name that ends in .py");
  EXPECT_FALSE(Read("none").ok());
}

}  // namespace
}  // namespace lextra

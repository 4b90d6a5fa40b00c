#include "data/text/document_reader.h"

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

// Longer than the first buffer; beyond what its format is told by, every byte
// value but NUL.
std::string LongText() {
  std::string text(kFormatHeadBytes, 'a');
  for (int64_t i = 0; i < 3'000'000; ++i) {
    text += static_cast<char>((i * i >> 3) % 255 + 1);
  }
  return text;
}

TEST_F(DocumentReaderTest, TakesATextFileAsOneDocumentByteByByte) {
  const std::string text =
      "a\r\n\r\n\n\xff b, Latin-1 in one of more than ten bytes";
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
       {std::pair<std::string, std::string>{"{\"text\": \"a\"",
                                            "line is truncated"},
        {"{\"text\": \"a", "of the line: line is truncated"},
        {"{\"text\": \"a\"} {}",
         "not valid JSON at byte 15 of the line: extra data after the value"},
        {"{\"text\": \"\xff\"}", "at byte 11 of the line: invalid UTF-8"},
        {"{\"text\": \"caf\xe9\"}",
         "not valid JSON at byte 15 of the line: "
         "invalid UTF-8"},
        {"{\"text\": \"a\", \"b\": NaN}", "NaN and Infinity are not JSON"},
        {"{\"text\": \"a\", \"b\": -Infinity}",
         "NaN and Infinity are not JSON"},
        {"{\"text\": \"a\", \"b\": \"\\ud800\"}", "unpaired surrogate"},
        {"{\"text\": \"a\tb\"}", "of the line: control character in a string"},
        {"{\"text\": \"a\", \"b\": 1e999e9}", "not valid JSON at byte"},
        {"{\"text\": \"a\", \"b\": 01}", "not valid JSON at byte"},
        {"text", "not valid JSON"},
        {"{\"body\": \"a\", \"id\": 3}",
         "no key 'text' in this object; available: body, id"},
        {"{}", "no key 'text'"},
        {"{\"more\": {\"text\": \"a\"}}", "no key 'text'"},
        {"{\"text\": 7}", "'text' is a number, expected a string"},
        {"{\"text\": null}", "'text' is null, expected a string"},
        {"{\"text\": [\"a\"]}", "'text' is an array, expected a string"},
        {"{\"text\": {\"a\": \"b\"}}", "'text' is an object, expected"},
        {"{\"text\": \"a\", \"text\": \"b\"}", "duplicate key 'text'"},
        {"[{\"text\": \"a\"}]", "expected a JSON object, got an array"},
        {"\"a\"", "expected a JSON object, got a string"},
        {std::string(100'000, '['), "not valid JSON"}}) {
    WriteText(Path("bad.jsonl"), good + line + "\n" + good);
    ExpectRefused("bad.jsonl", words);
    EXPECT_THAT(std::string(Read("bad.jsonl").message()),
                HasSubstr("bad.jsonl:3: "));
  }
}

// JSON sets no bound; what is not the text is not used.
TEST_F(DocumentReaderTest, TakesNumbersBeyondDouble) {
  const std::string digits(400, '9');
  WriteText(Path("a.jsonl"),
            "{\"text\": \"a 1e999\", \"s\": 1e999}\n"
            "{\"s\": [" +
                digits +
                ", -1.5E+99999, {\"\\\"1e999\": 0.1e400}], "
                "\"text\": \"b\"}\n");
  ASSERT_TRUE(Read("a.jsonl").ok());
  EXPECT_THAT(documents_, ElementsAre("a 1e999", "b"));
  WriteText(Path("b.jsonl"), "{\"text\": " + digits + "}");
  ExpectRefused("b.jsonl", "'text' is a number, expected a string");
  // In one pass over the line, however many there are.
  std::string many = "{\"text\": \"c\", \"s\": [0";
  for (int i = 0; i < 200'000; ++i) many += ",1e999";
  WriteText(Path("c.jsonl"), many + "]}");
  ASSERT_TRUE(Read("c.jsonl").ok());
  EXPECT_THAT(documents_, ElementsAre("c"));
}

TEST_F(DocumentReaderTest, LeavesOutAndCountsBadLinesWhenAsked) {
  std::string jsonl;
  for (int i = 0; i < 5; ++i) jsonl += "{\"text\": \"a\"}\n{\"body\": 1}\n";
  WriteText(Path("a.jsonl"), jsonl + "{\"text\": NaN}\n");
  ExpectRefused("a.jsonl", "; --skip_bad_lines skips such lines");
  reader_ = DocumentReader({.skip_bad_lines = true});
  ASSERT_TRUE(Read("a.jsonl").ok());
  EXPECT_EQ(documents_.size(), 5u);
  EXPECT_EQ(reader_.counts().bad_lines, 6);
  ASSERT_EQ(reader_.counts().first_bad_lines.size(), 3u);
  EXPECT_THAT(reader_.counts().first_bad_lines[1],
              AllOf(HasSubstr(Path("a.jsonl") + ":4: no key 'text'"),
                    ::testing::Not(HasSubstr("--skip_bad_lines"))));
}

TEST_F(DocumentReaderTest, TellsJsonLinesByContent) {
  const std::string jsonl = "\n{\"text\": \"one\"}\n{\"text\": \"two\"}\n";
  for (const std::string name :
       {"a.jsonl", "A.JSONL", "a.ndjson", "a.json", "A.Json", "a.txt", "a"}) {
    WriteText(Path(name), jsonl);
    ASSERT_TRUE(Read(name).ok()) << name;
    EXPECT_THAT(documents_, ElementsAre("one", "two")) << name;
    WriteGzip(Path(name + ".gz"), jsonl);
    ASSERT_TRUE(Read(name + ".gz").ok()) << name;
    EXPECT_THAT(documents_, ElementsAre("one", "two")) << name;
  }
  EXPECT_EQ(reader_.counts().json_files, 14);
  EXPECT_EQ(reader_.counts().gzip_files, 7);
  reader_ = DocumentReader({.format = TextFormat::kText});
  ASSERT_TRUE(Read("a.jsonl").ok());
  EXPECT_THAT(documents_, ElementsAre(jsonl));
  // Lines of JSON without a text are no text either; braces alone are.
  reader_ = DocumentReader({});
  WriteText(Path("b.txt"), "{\"body\": \"one\"}\n");
  ExpectRefused("b.txt",
                "no key 'text' in this object; available: body (choose "
                "one with --text_key); --skip_bad_lines skips such lines, "
                "--format=text reads the file as plain text");
  WriteText(Path("c.txt"), "{}\n{\n  \"text\": 1\n}\n");
  ASSERT_TRUE(Read("c.txt").ok());
  EXPECT_EQ(reader_.counts().text_files, 1);
  reader_ = DocumentReader({.format = TextFormat::kJsonLines});
  ExpectRefused("c.txt", "c.txt:1: no key 'text'");
}

TEST_F(DocumentReaderTest, RefusesOtherFormatsByNameWithWhatToDo) {
  using std::string_literals::operator""s;
  const std::string name = Path("a.jsonl");
  std::string tar(512, '\0');
  tar.replace(257, 5, "ustar");
  for (const auto& [bytes, words] :
       {std::pair<std::string, std::string>{
            "\x28\xB5\x2F\xFD\x04",
            "unsupported format: zstd data; unpack it: "
            "`zstd -d " +
                name + "`"},
        {"\xFD\x37zXZ\0\0"s, "`xz -dk " + name + "`"},
        {"BZh91AY&SY\x80\x81\x82", "`bzip2 -dk " + name + "`"},
        {"PK\x03\x04rest"s, "unsupported format: zip data; "},
        {tar, "unsupported format: tar data; "},
        {"PAR1\x15\0\x15\0"s, "unsupported format: Parquet data; "},
        {"%PDF-1.5\n", "unsupported format: PDF data; "},
        {"\xFF\xFEh\0e\0"s, "`iconv -f UTF-16 -t UTF-8 " + name + "`"},
        {"\xFE\xFF\0h\0e"s, "unsupported format: UTF-16 text; "},
        {"\xFF\xFE\0\0h\0\0\0"s, "`iconv -f UTF-32 -t UTF-8 " + name + "`"},
        {"\0\0\xFE\xFF\0\0\0h"s, "unsupported format: UTF-32 text; "},
        {"h\0e\0l\0l\0"s, "unsupported format: binary data; omit it, or"},
        {std::string(500, 'a') + std::string(200, '\x02'), "binary"},
        {"\xe4\xf6\xfc and so on",
         "unsupported format: text that is not UTF-8; convert it"}}) {
    WriteText(name, bytes);
    ExpectRefused("a.jsonl", words);
    std::filesystem::remove(Path("b.gz"));
    WriteGzip(Path("b.gz"), bytes);
    ExpectRefused("b.gz", " inside gzip; ");
    reader_ = DocumentReader({.skip_other_formats = true});
    ASSERT_TRUE(Read("a.jsonl").ok());
    EXPECT_THAT(documents_, ElementsAre());
    EXPECT_EQ(reader_.counts().other_formats.size(), 1u);
    EXPECT_EQ(reader_.counts().json_files, 0);
    reader_ = DocumentReader({.format = TextFormat::kText});
    ASSERT_TRUE(Read("a.jsonl").ok());
    EXPECT_THAT(documents_, ElementsAre(bytes));
    reader_ = DocumentReader({});
  }
}

TEST_F(DocumentReaderTest, RefusesAJsonDocumentOfSeveralLines) {
  WriteText(Path("a.json"), "[\n  {\"text\": \"a\"}\n]\n");
  ExpectRefused("a.json",
                "unsupported format: one JSON document; write one object "
                "per line: `jq -c '.[]' " +
                    Path("a.json") + "`");
  WriteText(Path("b.json"), "{\n  \"text\": \"a\"\n}\n");
  ExpectRefused("b.json", "`jq -c . " + Path("b.json") + "`");
}

// What begins as a text is one as long as no NUL comes.
TEST_F(DocumentReaderTest, RefusesANulBeyondTheHead) {
  const std::string text(kFormatHeadBytes + 1000, 'a');
  WriteText(Path("a.txt"), text + '\0');
  ExpectRefused("a.txt", "unsupported format: binary data; ");
  EXPECT_EQ(reader_.counts().text_files, 0);
  reader_ = DocumentReader({.split_blank_lines = true});
  WriteText(Path("b.txt"), text + "\n\n" + '\0' + "\n\nmore\n");
  ExpectRefused("b.txt", "b.txt:4: NUL byte before this line");
}

// The head's end may be within a character.
TEST_F(DocumentReaderTest, TakesTextOfLongCharacters) {
  for (const size_t begin : {0, 1, 2}) {
    std::string text(begin, 'a');
    while (text.size() < 2 * kFormatHeadBytes) text += "\xe6\x96\x87";
    WriteText(Path("a.txt"), text);
    ASSERT_TRUE(Read("a.txt").ok());
    EXPECT_TRUE(documents_ == std::vector<std::string>{text});
  }
}

TEST_F(DocumentReaderTest, UnpacksGzipWhateverItsName) {
  for (const std::string name : {"a.GZ", "a.txt", "a"}) {
    WriteGzip(Path(name), "some text");
    ASSERT_TRUE(Read(name).ok()) << name;
    EXPECT_THAT(documents_, ElementsAre("some text"));
  }
  WriteGzip(Path("inner"), "twice");
  WriteGzip(Path("outer.gz"), ReadText(Path("inner")));
  ExpectRefused("outer.gz", "unsupported format: gzip data inside gzip; ");
}

TEST_F(DocumentReaderTest, TakesZerosAfterGzipData) {
  WriteGzip(Path("a.gz"), "some text");
  const std::string packed = ReadText(Path("a.gz"));
  for (const size_t zeros : {1, 511, 1'000'000}) {
    const std::string padded = packed + std::string(zeros, '\0');
    WriteText(Path("padded.gz"), padded);
    ASSERT_TRUE(Read("padded.gz").ok()) << zeros;
    EXPECT_THAT(documents_, ElementsAre("some text"));
    WriteText(Path("more.gz"), padded + "x");
    EXPECT_FALSE(Read("more.gz").ok()) << zeros;
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
    ExpectRefused("cut.txt.gz", "truncated gzip data");
  }
  for (size_t size = 1; size < packed.size(); ++size) {  // the second member
    WriteText(Path("cut.txt.gz"), packed + packed.substr(0, size));
    ExpectRefused("cut.txt.gz", "truncated gzip data");
  }
}

TEST_F(DocumentReaderTest, RefusesADamagedGzip) {
  WriteText(Path("text.gz"), "this was never packed");
  ExpectRefused("text.gz", "not gzip data, or corrupt");
  WriteGzip(Path("a.gz"), "some text");
  std::string packed = ReadText(Path("a.gz"));
  WriteText(Path("more.gz"), packed + "something else");
  ExpectRefused("more.gz", "not gzip data, or corrupt");
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
  EXPECT_EQ(reader_.counts().byte_order_marks, 2);
  WriteText(Path("b.txt"), "c");
  ASSERT_TRUE(Read("b.txt").ok());
  EXPECT_EQ(reader_.counts().byte_order_marks, 2);
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
      ExpectRefused("more.jsonl", absl::StrCat("more.jsonl:1: line is "
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
  ExpectRefused("bomb.jsonl.gz", "bomb.jsonl.gz:1: line is longer than");
}

TEST_F(DocumentReaderTest, AHostileKeyStaysOnTheErrorsLine) {
  WriteText(Path("a.jsonl"), "{\"id\\n\\u001b[2J\": 1}\n");
  ExpectRefused("a.jsonl", "available: id\\x0a\\x1b[2J (choose");
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

}  // namespace
}  // namespace lextra

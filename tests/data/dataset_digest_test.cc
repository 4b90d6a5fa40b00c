#include "data/dataset_digest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/hash/digest.h"
#include "base/io/system_calls.h"
#include "data/token_file_writer.h"
#include "tests/data/token_files.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::Index;
using testing::Meta;
using testing::ReadText;
using testing::TemporaryFolder;
using testing::Tokens;
using testing::WriteText;

// Data from elsewhere, without a digest: documents of 9 tokens, beyond what the
// fingerprint samples (64 pages of 4 KiB).
class ForeignData {
 public:
  explicit ForeignData(int64_t num_documents = 40'000)
      : tokens_(9 * num_documents, 7) {
    WriteText(prefix() + ".bin", Tokens(tokens_, 2));
    WriteText(prefix() + ".idx",
              Index(std::vector<int32_t>(num_documents, 9), 2, 8).Bytes());
    WriteText(prefix() + ".meta.json",
              Meta(257, 256, num_documents, std::ssize(tokens_)));
  }

  std::string prefix() const { return folder_.path() + "/data"; }
  std::string record() const { return prefix() + ".digest.json"; }

  // Changes a byte that the fingerprint does not look at.
  void ChangeUnseen(char byte) const {
    std::fstream bin(prefix() + ".bin",
                     std::ios::binary | std::ios::in | std::ios::out);
    bin.seekp(6000);
    bin.put(byte);
  }

  // Whether a second call reads no more than what is kept.
  DatasetDigest Make(int64_t* num_reads = nullptr) const {
    const auto dataset = TokenDataset::Open(prefix());
    EXPECT_TRUE(dataset.ok()) << dataset.status();
    int64_t reads = 0;
    const auto digest = DigestOfDataset(*dataset, [&] { ++reads; });
    EXPECT_TRUE(digest.ok()) << digest.status();
    if (num_reads != nullptr) *num_reads = reads;
    return *digest;
  }
  bool IsKept() const {
    int64_t num_reads = 0;
    Make(&num_reads);
    return num_reads == 0;
  }

 private:
  TemporaryFolder folder_;
  std::vector<int64_t> tokens_;
};

TEST(DatasetDigest, IsMadeOnceAndKeptNextToTheData) {
  const ForeignData data;
  int64_t num_reads = 0;
  const DatasetDigest made = data.Make(&num_reads);
  EXPECT_EQ(num_reads, 2);  // one piece of each file
  EXPECT_EQ(made.digest.size(), Digest::kHexDigits);
  EXPECT_EQ(data.Make(&num_reads).digest, made.digest);
  EXPECT_EQ(num_reads, 0);
  EXPECT_THAT(ReadText(data.record()), HasSubstr("\"xxh3_128\""));
}

TEST(DatasetDigest, IsTheSameForACopyAndForLinks) {
  const ForeignData data;
  const std::string digest = data.Make().digest;
  const TemporaryFolder folder;
  for (const char* suffix : {".bin", ".idx", ".meta.json"}) {
    fs::copy(data.prefix() + suffix, folder.path() + "/copy" + suffix);
    fs::create_symlink(data.prefix() + suffix,
                       folder.path() + "/link" + suffix);
  }
  for (const char* name : {"/copy", "/link"}) {
    const auto dataset = TokenDataset::Open(folder.path() + name);
    ASSERT_TRUE(dataset.ok());
    EXPECT_EQ(DigestOfDataset(*dataset)->digest, digest);
  }
}

// The sampled fingerprint alone took such data for the same.
TEST(DatasetDigest, SeesAByteThatTheFingerprintDoesNot) {
  const ForeignData data;
  const DatasetDigest before = data.Make();
  data.ChangeUnseen(8);
  const DatasetDigest after = data.Make();
  EXPECT_EQ(after.fingerprint, before.fingerprint);
  EXPECT_NE(after.digest, before.digest);
  data.ChangeUnseen(7);
  EXPECT_EQ(data.Make().digest, before.digest);
}

TEST(DatasetDigest, SeesTheTokenizer) {
  const ForeignData data;
  const std::string digest = data.Make().digest;
  std::string meta = ReadText(data.prefix() + ".meta.json");
  meta.replace(meta.find("\"byte\""), 6, "\"tony\"");
  WriteText(data.prefix() + ".meta.json", meta);
  EXPECT_NE(data.Make().digest, digest);
  EXPECT_TRUE(data.IsKept());
}

// A file that was written to without a trace in its size and time.
TEST(DatasetDigest, IsMadeAgainWhereTheFingerprintDiffers) {
  const ForeignData data;
  const std::string digest = data.Make().digest;
  const fs::path bin = data.prefix() + ".bin";
  const auto time = fs::last_write_time(bin);
  const auto num_tokens = static_cast<size_t>(fs::file_size(bin)) / 2;
  WriteText(bin, Tokens(std::vector<int64_t>(num_tokens, 8), 2));
  fs::last_write_time(bin, time);
  EXPECT_NE(data.Make().digest, digest);
}

TEST(DatasetDigest, IsMadeAgainWhereItsFileIsDamaged) {
  const ForeignData data(10);
  const std::string digest = data.Make().digest;
  const std::string record = ReadText(data.record());
  for (size_t i = 0; i < record.size(); i += 7) {
    std::string damaged = record;
    damaged[i] ^= 1;
    WriteText(data.record(), damaged);
    EXPECT_EQ(data.Make().digest, digest) << damaged;
    EXPECT_EQ(ReadText(data.record()), record) << damaged;
  }
  for (const std::string other : {"", "{", "[]", "{}", "\xff", "{\"check\": 1}",
                                  "{\"xxh3_128\": [], \"check\": \"\"}",
                                  "{\"xxh3_128\": {\"bin\": \"\\ud800\", "
                                  "\"idx\": 1}, \"check\": \"\"}"}) {
    WriteText(data.record(), other);
    EXPECT_EQ(data.Make().digest, digest) << other;
    EXPECT_TRUE(data.IsKept()) << other;
  }
}

TEST(DatasetDigest, IsMadeAndUsedWhereNothingCanBeKept) {
  const ForeignData data(10);
  const std::string digest = data.Make().digest;
  fs::remove(data.record());
  const sys::ScopedFaults faults("open:1-:EROFS:path=.digest.json.tmp");
  EXPECT_EQ(data.Make().digest, digest);
  EXPECT_FALSE(fs::exists(data.record()));
}

TEST(DatasetDigest, IsNotMadeOfFilesThatChangeMeanwhile) {
  const ForeignData data;
  const auto dataset = TokenDataset::Open(data.prefix());
  ASSERT_TRUE(dataset.ok());
  const absl::Status status =
      DigestOfDataset(*dataset, [&] { data.ChangeUnseen(9); }).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("changed while its digest was computed"));
  EXPECT_FALSE(fs::exists(data.record()));
}

TEST(DatasetDigest, ComesWithWhatWeWrite) {
  const TemporaryFolder folder;
  const std::string prefix = folder.path() + "/data";
  for (const int32_t token : {3, 4}) {
    const auto writer =
        *TokenFileWriter::Create(prefix, {.tokenizer = "byte",
                                          .tokenizer_sha256 = "",
                                          .vocab_size = 257,
                                          .eos_id = 256});
    // More than one buffer.
    ASSERT_TRUE(writer->Append(std::vector<int32_t>(3'000'000, token)).ok());
    ASSERT_TRUE(writer->EndDocument(1).ok());
    TokenFileWriter* const writers[] = {writer.get()};
    ASSERT_TRUE(TokenFileWriter::Commit(writers).ok());

    const auto dataset = TokenDataset::Open(prefix);
    ASSERT_TRUE(dataset.ok());
    int64_t num_reads = 0;
    const auto kept = DigestOfDataset(*dataset, [&] { ++num_reads; });
    ASSERT_TRUE(kept.ok()) << kept.status();
    EXPECT_EQ(num_reads, 0);
    fs::remove(prefix + ".digest.json");
    EXPECT_EQ(DigestOfDataset(*dataset)->digest, kept->digest);
  }
}

TEST(FilesOf, TellsFilesApartButNotTheNamesThatLeadToThem) {
  const ForeignData data(10);
  const ForeignData other(10);
  const TemporaryFolder folder;
  fs::create_directory_symlink(fs::path(data.prefix()).parent_path(),
                               folder.path() + "/link");
  const std::string files = FilesOf(*TokenDataset::Open(data.prefix()));
  EXPECT_EQ(FilesOf(*TokenDataset::Open(folder.path() + "/link/data")), files);
  EXPECT_NE(FilesOf(*TokenDataset::Open(other.prefix())), files);
}

}  // namespace
}  // namespace lextra

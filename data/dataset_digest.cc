#include "data/dataset_digest.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/hash/digest.h"
#include "base/io/files.h"
#include "base/io/open_files.h"
#include "base/log.h"
#include "data/token_file_format.h"
#include "nlohmann/json.hpp"

namespace lextra {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

constexpr int64_t kMaxRecordBytes = 4096;
// Hashed while it is in the second-level cache.
constexpr int64_t kReadBytes = int64_t{1} << 20;
constexpr double kSecondsBetweenLines = 10;
constexpr double kWorthALineSeconds = 2;

std::string RecordPath(const TokenDataset& dataset) {
  return dataset.prefix() + kDigestSuffix;
}

absl::StatusOr<struct stat> StatOf(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) == 0) return status;
  return InputError(absl::StrCat(path, ": ", std::strerror(errno)));
}

int64_t ModificationTime(const struct stat& status) {
  return int64_t{status.st_mtim.tv_sec} * 1'000'000'000 +
         status.st_mtim.tv_nsec;
}

// Shows that a file was modified, without reading it.
absl::StatusOr<Json> StateOf(const std::string& path) {
  LEXTRA_ASSIGN_OR_RETURN(const struct stat status, StatOf(path));
  return Json{{"bytes", int64_t{status.st_size}},
              {"modified_ns", ModificationTime(status)}};
}

absl::StatusOr<Json> StateOfFiles(const TokenDataset& dataset) {
  LEXTRA_ASSIGN_OR_RETURN(const Json bin, StateOf(dataset.prefix() + ".bin"));
  LEXTRA_ASSIGN_OR_RETURN(const Json idx, StateOf(dataset.prefix() + ".idx"));
  return Json{{"bin", bin}, {"idx", idx}};
}

std::string FingerprintText(uint32_t fingerprint) {
  return absl::StrFormat("%08x", fingerprint);
}

// PREFIX.digest.json without its last field, which detects corruption.
Json Record(const Json& state, uint32_t fingerprint,
            const TokenFileDigests& digests) {
  return Json{{"files", state},
              {"fingerprint", FingerprintText(fingerprint)},
              {"xxh3_128", {{"bin", digests.bin}, {"idx", digests.idx}}}};
}

absl::Status WriteRecord(const TokenDataset& dataset, Json record) {
  record["check"] = DigestOf(record.dump());
  return AtomicWrite(RecordPath(dataset), record.dump(1) + "\n");
}

std::optional<std::string> TextAt(const Json& json, const char* first,
                                  const char* second) {
  const Json::json_pointer place(absl::StrCat("/", first, "/", second));
  if (!json.contains(place) || !json[place].is_string()) return std::nullopt;
  return json[place].get<std::string>();
}

// The stored digests, if they are of the files as they are now.
std::optional<TokenFileDigests> ReadRecord(const TokenDataset& dataset,
                                           const Json& state,
                                           uint32_t fingerprint) {
  const absl::StatusOr<std::string> text =
      ReadFile(RecordPath(dataset), kMaxRecordBytes);
  if (!text.ok()) return std::nullopt;
  Json record = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!record.is_object() || !record.contains("check")) return std::nullopt;
  const std::string check =
      record["check"].is_string() ? record["check"].get<std::string>() : "";
  record.erase("check");
  const std::optional<std::string> bin = TextAt(record, "xxh3_128", "bin");
  const std::optional<std::string> idx = TextAt(record, "xxh3_128", "idx");
  if (!bin || !idx) return std::nullopt;
  const Json expected = Record(state, fingerprint, {.bin = *bin, .idx = *idx});
  // Replaces instead of throwing: the text may contain any bytes.
  const auto lenient = Json::error_handler_t::replace;
  if (record != expected ||
      check != DigestOf(record.dump(-1, ' ', false, lenient))) {
    return std::nullopt;
  }
  return TokenFileDigests{.bin = *bin, .idx = *idx};
}

// Logs progress from time to time.
class Progress {
 public:
  Progress(std::string prefix, int64_t total_bytes,
           const std::function<void()>& progressed)
      : prefix_(std::move(prefix)),
        total_bytes_(total_bytes),
        progressed_(progressed) {}

  void Add(int64_t bytes) {
    bytes_ += bytes;
    if (progressed_ != nullptr) progressed_();
    const double seconds = SecondsSince(start_);
    if (seconds < next_line_seconds_) return;
    next_line_seconds_ = seconds + kSecondsBetweenLines;
    LogInfo("%s: digest: %.1f of %.1f GB read, %.2f GB/s, %.0f s left", prefix_,
            bytes_ * 1e-9, total_bytes_ * 1e-9, bytes_ * 1e-9 / seconds,
            seconds * (total_bytes_ - bytes_) / bytes_);
  }

  void End() const {
    const double seconds = SecondsSince(start_);
    if (seconds < kWorthALineSeconds) return;
    LogInfo("%s: digest of %.1f GB computed in %.1f s (%.2f GB/s)", prefix_,
            total_bytes_ * 1e-9, seconds, total_bytes_ * 1e-9 / seconds);
  }

 private:
  std::string prefix_;
  int64_t total_bytes_;
  const std::function<void()>& progressed_;
  int64_t bytes_ = 0;
  Clock::time_point start_ = Clock::now();
  double next_line_seconds_ = kSecondsBetweenLines;
};

absl::StatusOr<std::string> DigestOfFile(const std::string& path, int64_t bytes,
                                         Progress* progress) {
  LEXTRA_ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
  std::vector<std::byte> buffer(std::min(bytes, kReadBytes));
  Digest digest;
  for (int64_t begin = 0; begin < bytes; begin += kReadBytes) {
    const std::span part =
        std::span(buffer).first(std::min(kReadBytes, bytes - begin));
    LEXTRA_RETURN_IF_ERROR(file.Read(begin, part));
    digest.Add(part);
    progress->Add(std::ssize(part));
  }
  return digest.Hex();
}

absl::StatusOr<TokenFileDigests> DigestFiles(
    const TokenDataset& dataset, const Json& state,
    const std::function<void()>& progressed) {
  const int64_t bin_bytes = state["bin"]["bytes"];
  const int64_t idx_bytes = state["idx"]["bytes"];
  Progress progress(dataset.prefix(), bin_bytes + idx_bytes, progressed);
  TokenFileDigests digests;
  LEXTRA_ASSIGN_OR_RETURN(digests.bin, DigestOfFile(dataset.prefix() + ".bin",
                                                    bin_bytes, &progress));
  LEXTRA_ASSIGN_OR_RETURN(digests.idx, DigestOfFile(dataset.prefix() + ".idx",
                                                    idx_bytes, &progress));
  LEXTRA_ASSIGN_OR_RETURN(const Json after, StateOfFiles(dataset));
  if (after != state) {
    return InputError(absl::StrCat(
        dataset.prefix(),
        ": .bin or .idx changed while its digest was computed; wait for the "
        "writer to finish and rerun"));
  }
  progress.End();
  return digests;
}

// Includes the sizes, so that bytes can't move from one file to the other.
std::string Combined(const Json& state, const TokenFileDigests& digests,
                     const DatasetMeta& meta) {
  return DigestOf(Json{state["bin"]["bytes"], digests.bin,
                       state["idx"]["bytes"], digests.idx, meta.tokenizer,
                       meta.tokenizer_sha256, meta.vocab_size, meta.eos_id}
                      .dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

absl::StatusOr<DatasetDigest> DigestOfDataset(
    const TokenDataset& dataset, const std::function<void()>& progressed) {
  LEXTRA_ASSIGN_OR_RETURN(const Json state, StateOfFiles(dataset));
  const uint32_t fingerprint = dataset.Fingerprint();
  std::optional<TokenFileDigests> digests =
      ReadRecord(dataset, state, fingerprint);
  if (!digests) {
    LEXTRA_ASSIGN_OR_RETURN(digests, DigestFiles(dataset, state, progressed));
    const absl::Status kept =
        WriteRecord(dataset, Record(state, fingerprint, *digests));
    if (!kept.ok()) {
      LogHint(
          "cannot store the digest of %s, so every start computes it again "
          "(%s); run once as a user who may write there",
          dataset.prefix(), kept.message());
    }
  }
  return DatasetDigest{.digest = Combined(state, *digests, dataset.meta()),
                       .fingerprint = fingerprint};
}

absl::Status KeepDigests(const TokenDataset& dataset,
                         const TokenFileDigests& digests) {
  LEXTRA_ASSIGN_OR_RETURN(const Json state, StateOfFiles(dataset));
  return WriteRecord(dataset, Record(state, dataset.Fingerprint(), digests));
}

std::string FilesOf(const TokenDataset& dataset) {
  std::string text;
  for (const char* suffix : {".bin", ".idx", ".meta.json"}) {
    const auto status = StatOf(dataset.prefix() + suffix);
    if (!status.ok()) return absl::StrCat(text, dataset.prefix());
    absl::StrAppend(&text, status->st_dev, ":", status->st_ino, ":",
                    status->st_size, ":", ModificationTime(*status), " ");
  }
  return text;
}

}  // namespace lextra

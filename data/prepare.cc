#include "data/prepare.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "base/seeds.h"
#include "data/byte_tokenizer.h"
#include "data/token_file_writer.h"

namespace lextra {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// One line that is drawn over itself on a terminal; elsewhere a plain line now
// and then.
class Progress {
 public:
  explicit Progress(int64_t total_bytes)
      : total_bytes_(total_bytes), on_terminal_(ProgressIsWelcome()) {}
  ~Progress() {
    if (drawn_) std::fputs("\r\033[K", stderr);
  }

  void Show(int64_t bytes, int64_t documents) {
    const double seconds = SecondsSince(start_);
    if (seconds < next_seconds_) return;
    next_seconds_ = seconds + (on_terminal_ ? 0.2 : 30);
    if (bytes == 0 || (!on_terminal_ && seconds < 30)) return;
    const double left = seconds * (total_bytes_ - bytes) / bytes;
    const std::string line = absl::StrFormat(
        "prepare: %3.0f%% of %.1f MB read, %d documents, %.0f MB/s, %.0f s "
        "left",
        100.0 * bytes / std::max<int64_t>(total_bytes_, 1), total_bytes_ * 1e-6,
        documents, bytes * 1e-6 / seconds, std::max(left, 0.0));
    if (!on_terminal_) return LogLine(line);
    std::fprintf(stderr, "\r%s\033[K", line.c_str());
    std::fflush(stderr);
    drawn_ = true;
  }

 private:
  Clock::time_point start_ = Clock::now();
  double next_seconds_ = 0;
  int64_t total_bytes_;
  bool on_terminal_;
  bool drawn_ = false;
};

int64_t TotalBytes(const std::vector<std::string>& files) {
  int64_t total = 0;
  for (const std::string& file : files) {
    std::error_code error;
    const auto size = std::filesystem::file_size(file, error);
    if (!error) total += static_cast<int64_t>(size);
  }
  return total;
}

std::string Count(int64_t count, const char* noun) {
  return absl::StrCat(count, " ", noun, count == 1 ? "" : "s");
}

// Writes one side of the split and counts.
class SplitWriter {
 public:
  static absl::StatusOr<SplitWriter> Create(const std::string& prefix) {
    DatasetMeta meta;
    meta.tokenizer = ByteTokenizer::kName;
    meta.vocab_size = ByteTokenizer::kVocabSize;
    meta.eos_id = ByteTokenizer::kEosId;
    SplitWriter split;
    LEXTRA_ASSIGN_OR_RETURN(split.writer_,
                            TokenFileWriter::Create(prefix, meta));
    split.summary_.prefix = prefix;
    return split;
  }

  absl::Status Append(std::string_view text) {
    const int64_t tokens_before = writer_->meta().tokens;
    const int64_t bytes = std::ssize(text);
    // In pieces that stay in the cache.
    while (!text.empty()) {
      const std::string_view piece = text.substr(0, kPieceBytes);
      tokenizer_.Encode(piece, &tokens_);
      LEXTRA_RETURN_IF_ERROR(writer_->Append(tokens_));
      text.remove_prefix(piece.size());
    }
    LEXTRA_RETURN_IF_ERROR(writer_->EndDocument(bytes));
    const uint64_t tokens = writer_->meta().tokens - tokens_before;
    ++summary_.documents_of_size[std::bit_width(tokens) - 1];
    return absl::OkStatus();
  }
  TokenFileWriter* writer() const { return writer_.get(); }
  SplitSummary summary() const {
    SplitSummary summary = summary_;
    summary.documents = writer_->meta().documents;
    summary.tokens = writer_->meta().tokens;
    summary.bytes = writer_->meta().bytes;
    return summary;
  }

 private:
  static constexpr size_t kPieceBytes = size_t{1} << 15;

  std::unique_ptr<TokenFileWriter> writer_;
  ByteTokenizer tokenizer_;
  std::vector<int32_t> tokens_;  // of a piece
  SplitSummary summary_;
};

// The whole pass over the input.
class Preparation {
 public:
  Preparation(const PrepareOptions& options, SplitWriter train,
              SplitWriter validation)
      : options_(options),
        reader_(options.read),
        train_(std::move(train)),
        validation_(std::move(validation)) {}

  absl::Status ReadAll(const std::vector<std::string>& files) {
    Progress progress(TotalBytes(files));
    for (const std::string& file : files) {
      LEXTRA_RETURN_IF_ERROR(
          reader_.Read(file, [&](std::string_view text) -> absl::Status {
            progress.Show(reader_.stored_bytes(), num_documents());
            return Add(text);
          }));
    }
    summary_.files = std::ssize(files);
    summary_.byte_order_marks = reader_.num_byte_order_marks();
    if (num_documents() > 0) return absl::OkStatus();
    return InputError(absl::StrFormat(
        "%s: no document in %s: %d without text, %d shorter than "
        "--min_document_bytes=%d",
        options_.inputs.front() + (options_.inputs.size() > 1 ? " ..." : ""),
        Count(summary_.files, "file"), summary_.empty_documents,
        summary_.short_documents, options_.min_document_bytes));
  }

  absl::Status Commit() {
    std::vector<TokenFileWriter*> writers;
    if (WritesTrain()) writers.push_back(train_.writer());
    if (WritesValidation()) writers.push_back(validation_.writer());
    return TokenFileWriter::Commit(writers);
  }

  PrepareSummary summary() const {
    PrepareSummary summary = summary_;
    summary.train = train_.summary();
    summary.validation = validation_.summary();
    if (!WritesTrain()) summary.train.prefix.clear();
    if (!WritesValidation()) summary.validation.prefix.clear();
    return summary;
  }

 private:
  // A side of which nothing was asked for stays as it was.
  bool WritesTrain() const { return options_.validation_fraction < 1; }
  bool WritesValidation() const { return options_.validation_fraction > 0; }

  int64_t num_documents() const {
    return train_.writer()->meta().documents +
           validation_.writer()->meta().documents;
  }

  absl::Status Add(std::string_view text) {
    const int64_t bytes = std::ssize(text);
    if (bytes == 0 || bytes < options_.min_document_bytes) {
      ++(bytes == 0 ? summary_.empty_documents : summary_.short_documents);
      return absl::OkStatus();
    }
    if (std::memchr(text.data(), '\0', text.size()) != nullptr) {
      ++summary_.binary_documents;
    }
    const bool validates = SplitPoint(text) < options_.validation_fraction;
    return (validates ? validation_ : train_).Append(text);
  }

  const PrepareOptions& options_;
  DocumentReader reader_;
  SplitWriter train_;
  SplitWriter validation_;
  PrepareSummary summary_;
};

void AppendHistogram(const PrepareSummary& summary, std::string* text) {
  const auto& train = summary.train.documents_of_size;
  const auto& validation = summary.validation.documents_of_size;
  const auto used = [&](size_t i) { return train[i] + validation[i] > 0; };
  size_t first = 0;
  while (first < train.size() && !used(first)) ++first;
  size_t end = train.size();
  while (end > first && !used(end - 1)) --end;
  absl::StrAppend(text,
                  "\ndocuments of ... tokens        train   validation\n");
  for (size_t i = first; i < end; ++i) {
    absl::StrAppendFormat(text, "%11d - %-11d %10d   %10d\n", int64_t{1} << i,
                          (int64_t{2} << i) - 1, train[i], validation[i]);
  }
}

}  // namespace

double SplitPoint(std::string_view text) {
  // Eight bytes at a time: SeedFor mixes byte by byte, too slow for a corpus.
  uint64_t hash = MixBits(text.size());
  for (size_t i = 0; i < text.size(); i += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + i,
                std::min(sizeof(word), text.size() - i));
    hash = MixBits(hash ^ word);
  }
  return static_cast<double>(hash >> 11) * 0x1p-53;
}

absl::StatusOr<PrepareSummary> Prepare(const PrepareOptions& options) {
  const Clock::time_point start = Clock::now();
  LEXTRA_ASSIGN_OR_RETURN(const std::vector<std::string> files,
                          ListInputFiles(options.inputs, options.extensions));
  LEXTRA_ASSIGN_OR_RETURN(SplitWriter train,
                          SplitWriter::Create(options.output + "-train"));
  LEXTRA_ASSIGN_OR_RETURN(SplitWriter validation,
                          SplitWriter::Create(options.output + "-validation"));
  Preparation preparation(options, std::move(train), std::move(validation));
  LEXTRA_RETURN_IF_ERROR(preparation.ReadAll(files));
  LEXTRA_RETURN_IF_ERROR(preparation.Commit());
  PrepareSummary summary = preparation.summary();
  summary.seconds = SecondsSince(start);
  return summary;
}

std::string SummaryText(const PrepareSummary& summary) {
  const double megabytes =
      (summary.train.bytes + summary.validation.bytes) * 1e-6;
  std::string text = absl::StrFormat(
      "Read %s: %s, %.3f MB of text in %.2f s (%.0f MB/s)\n",
      Count(summary.files, "file"),
      Count(summary.train.documents + summary.validation.documents, "document"),
      megabytes, summary.seconds, megabytes / summary.seconds);
  if (summary.empty_documents > 0) {
    absl::StrAppendFormat(&text, "Left out: %s without text\n",
                          Count(summary.empty_documents, "document"));
  }
  if (summary.short_documents > 0) {
    absl::StrAppendFormat(&text, "Left out: %s below the minimum size\n",
                          Count(summary.short_documents, "document"));
  }
  if (summary.byte_order_marks > 0) {
    absl::StrAppendFormat(&text, "Dropped: the byte order mark of %s\n",
                          Count(summary.byte_order_marks, "file"));
  }
  absl::StrAppend(&text,
                  "\nsplit        documents          tokens           bytes\n");
  for (const auto& [name, split] :
       {std::pair("train", &summary.train),
        std::pair("validation", &summary.validation)}) {
    absl::StrAppendFormat(&text, "%-10s %11d %15d %15d\n", name,
                          split->documents, split->tokens, split->bytes);
  }
  AppendHistogram(summary, &text);
  const bool both =
      !summary.train.prefix.empty() && !summary.validation.prefix.empty();
  absl::StrAppendFormat(&text, "\nWrote %s%s%s (.bin, .idx, .meta.json)\n",
                        summary.train.prefix, both ? " and " : "",
                        summary.validation.prefix);
  return text;
}

}  // namespace lextra

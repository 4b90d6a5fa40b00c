#include "data/prepare.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/seeds.h"
#include "data/text/utf8.h"
#include "data/token_file_writer.h"

namespace lextra {
namespace {

using Clock = std::chrono::steady_clock;

// On a terminal one line that is redrawn; elsewhere a plain line from time to
// time.
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

// Writes and counts one split.
class SplitWriter {
 public:
  // A split that is not written takes no documents.
  static absl::StatusOr<SplitWriter> Create(const std::string& prefix,
                                            const Tokenizer& tokenizer,
                                            bool is_written) {
    SplitWriter split(tokenizer);
    if (!is_written) return split;
    DatasetMeta meta;
    meta.tokenizer = tokenizer.name();
    meta.tokenizer_sha256 = tokenizer.sha256();
    meta.vocab_size = tokenizer.vocab_size();
    meta.eos_id = tokenizer.eos_id();
    LEXTRA_ASSIGN_OR_RETURN(split.writer_,
                            TokenFileWriter::Create(prefix, meta));
    split.summary_.prefix = prefix;
    return split;
  }

  // `check` is called regularly; its error ends the writing.
  absl::Status Append(std::string_view text,
                      absl::FunctionRef<absl::Status()> check) {
    const int64_t tokens_before = writer_->meta().tokens;
    LEXTRA_RETURN_IF_ERROR(tokenizer_->Encode(
        text, [&](std::span<const int32_t> ids) -> absl::Status {
          LEXTRA_RETURN_IF_ERROR(check());
          return writer_->Append(ids);
        }));
    LEXTRA_RETURN_IF_ERROR(writer_->EndDocument(std::ssize(text)));
    const uint64_t tokens = writer_->meta().tokens - tokens_before;
    ++summary_.documents_of_size[std::bit_width(tokens) - 1];
    return absl::OkStatus();
  }

  TokenFileWriter* writer() const { return writer_.get(); }  // null: none
  int64_t num_documents() const {
    return writer_ == nullptr ? 0 : writer_->meta().documents;
  }
  SplitSummary summary() const {
    SplitSummary summary = summary_;
    if (writer_ == nullptr) return summary;
    summary.documents = writer_->meta().documents;
    summary.tokens = writer_->meta().tokens;
    summary.bytes = writer_->meta().bytes;
    return summary;
  }

 private:
  explicit SplitWriter(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  std::unique_ptr<TokenFileWriter> writer_;
  const Tokenizer* tokenizer_;
  SplitSummary summary_;
};

absl::Status CheckStop(const PrepareOptions& options) {
  if (!options.stop_requested()) return absl::OkStatus();
  return Preempted("stopped on request: no data set was written or changed");
}

// The whole pass over the input.
class Preparation {
 public:
  Preparation(const PrepareOptions& options, SplitWriter train,
              SplitWriter validation)
      : options_(options),
        reader_(options.read),
        train_(std::move(train)),
        validation_(std::move(validation)) {}

  absl::Status ReadAll(const CorpusFiles& files) {
    summary_.skipped = files.skipped;
    Progress progress(files.stored_bytes);
    for (const std::string& path : files.paths) {
      LEXTRA_RETURN_IF_ERROR(CheckStop(options_));
      LEXTRA_RETURN_IF_ERROR(
          reader_.Read(path, [&](std::string_view text) -> absl::Status {
            progress.Show(reader_.stored_bytes(), num_documents());
            return Add(text);
          }));
    }
    TakeReadCounts();
    if (num_documents() > 0) return absl::OkStatus();
    return NoDocument();
  }

  absl::Status Commit() {
    std::vector<TokenFileWriter*> writers;
    for (const SplitWriter* split : {&train_, &validation_}) {
      if (split->writer() != nullptr) writers.push_back(split->writer());
    }
    return TokenFileWriter::Commit(writers);
  }

  PrepareSummary summary() const {
    PrepareSummary summary = summary_;
    summary.train = train_.summary();
    summary.validation = validation_.summary();
    return summary;
  }

 private:
  int64_t num_documents() const {
    return train_.num_documents() + validation_.num_documents();
  }

  absl::Status Add(std::string_view text) {
    const int64_t bytes = std::ssize(text);
    if (bytes == 0 || bytes < options_.min_document_bytes) {
      ++(bytes == 0 ? summary_.empty_documents : summary_.short_documents);
      return CheckStop(options_);
    }
    if (std::memchr(text.data(), '\0', text.size()) != nullptr) {
      ++summary_.binary_documents;
    }
    if (InvalidUtf8Bytes(text) > 0) ++summary_.other_encodings;
    const bool validates = SplitPoint(text) < options_.validation_fraction;
    return (validates ? validation_ : train_).Append(text, [this] {
      return CheckStop(options_);
    });
  }

  void TakeReadCounts() {
    summary_.read = reader_.counts();
    for (const auto& [name, count] : summary_.read.other_formats) {
      summary_.skipped.other_formats[name] += count;
    }
  }

  absl::Status NoDocument() const {
    std::string message = absl::StrFormat(
        "%s: no documents in %s: %d without text, %d shorter than "
        "--min_document_bytes=%d",
        options_.inputs.front() + (options_.inputs.size() > 1 ? " ..." : ""),
        CountOf(summary_.read.text_files + summary_.read.json_files, "file"),
        summary_.empty_documents, summary_.short_documents,
        options_.min_document_bytes);
    if (summary_.read.bad_lines > 0) {
      absl::StrAppend(&message, ", ",
                      CountOf(summary_.read.bad_lines, "bad line"),
                      ", first: ", summary_.read.first_bad_lines.front());
    }
    const std::string skipped = SkippedText(summary_.skipped);
    if (!skipped.empty()) absl::StrAppend(&message, "; skipped: ", skipped);
    return InputError(message);
  }

  const PrepareOptions& options_;
  DocumentReader reader_;
  SplitWriter train_;
  SplitWriter validation_;
  PrepareSummary summary_;
};

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
  const std::string train_prefix = options.output + "-train";
  const std::string validation_prefix = options.output + "-validation";
  CorpusOptions corpus;
  corpus.extensions = options.extensions;
  corpus.outputs = {train_prefix, validation_prefix};
  corpus.format = options.read.format;
  corpus.skip_other_formats = options.read.skip_other_formats;
  corpus.check = [&options] { return CheckStop(options); };
  LEXTRA_ASSIGN_OR_RETURN(const CorpusFiles files,
                          ListCorpus(options.inputs, corpus));
  LEXTRA_ASSIGN_OR_RETURN(SplitWriter train,
                          SplitWriter::Create(train_prefix, *options.tokenizer,
                                              options.validation_fraction < 1));
  LEXTRA_ASSIGN_OR_RETURN(
      SplitWriter validation,
      SplitWriter::Create(validation_prefix, *options.tokenizer,
                          options.validation_fraction > 0));
  Preparation preparation(options, std::move(train), std::move(validation));
  LEXTRA_RETURN_IF_ERROR(preparation.ReadAll(files));
  LEXTRA_RETURN_IF_ERROR(preparation.Commit());
  PrepareSummary summary = preparation.summary();
  summary.seconds = SecondsSince(start);
  return summary;
}

}  // namespace lextra

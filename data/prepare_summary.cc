#include "data/prepare_summary.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace lextra {
namespace {

// Text files alone are the normal case and not mentioned.
void AppendFormats(const ReadCounts& read, std::string* text) {
  if (read.json_files == 0 && read.gzip_files == 0) return;
  absl::StrAppendFormat(text,
                        "Formats: %s of text, %s of JSON lines; %d of "
                        "them gzip-compressed\n",
                        CountOf(read.text_files, "file"),
                        CountOf(read.json_files, "file"), read.gzip_files);
}

void AppendLeftOut(const PrepareSummary& summary, std::string* text) {
  if (const std::string skipped = SkippedText(summary.skipped);
      !skipped.empty()) {
    absl::StrAppend(text, "Skipped: ", skipped, "\n");
  }
  if (summary.read.bad_lines > 0) {
    absl::StrAppend(text,
                    "Skipped: ", CountOf(summary.read.bad_lines, "bad line"),
                    ", first:\n");
    for (const std::string& line : summary.read.first_bad_lines) {
      absl::StrAppend(text, "  ", line, "\n");
    }
  }
  if (summary.empty_documents > 0) {
    absl::StrAppendFormat(text, "Skipped: %s without text\n",
                          CountOf(summary.empty_documents, "document"));
  }
  if (summary.short_documents > 0) {
    absl::StrAppendFormat(text, "Skipped: %s below the minimum size\n",
                          CountOf(summary.short_documents, "document"));
  }
  if (summary.read.byte_order_marks > 0) {
    absl::StrAppendFormat(text, "Removed: byte order mark of %s\n",
                          CountOf(summary.read.byte_order_marks, "file"));
  }
}

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

std::string CountOf(int64_t count, const char* noun) {
  return absl::StrCat(count, " ", noun, count == 1 ? "" : "s");
}

std::string SummaryText(const PrepareSummary& summary) {
  const double megabytes =
      (summary.train.bytes + summary.validation.bytes) * 1e-6;
  std::string text = absl::StrFormat(
      "Read %s: %s, %.3f MB of text in %.2f s (%.0f MB/s)\n",
      CountOf(summary.read.text_files + summary.read.json_files, "file"),
      CountOf(summary.train.documents + summary.validation.documents,
              "document"),
      megabytes, summary.seconds, megabytes / summary.seconds);
  AppendFormats(summary.read, &text);
  AppendLeftOut(summary, &text);
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
  absl::StrAppendFormat(
      &text, "\nWrote %s%s%s (.bin, .idx, .meta.json, .digest.json)\n",
      summary.train.prefix, both ? " and " : "", summary.validation.prefix);
  return text;
}

}  // namespace lextra

#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "data/prepare.h"
#include "data/tokenizer.h"
#include "launch/arguments/command_line.h"
#include "launch/commands.h"
#include "launch/stop_signals.h"

namespace lextra {
namespace {

struct CommandOptions {
  PrepareOptions prepare;
  std::string tokenizer = "byte";
  std::string validation_fraction = "0.1";
  std::string format = "auto";
};

CommandLine MakeCommandLine(CommandOptions* options) {
  CommandLine line(
      "prepare --output=PREFIX INPUT ...",
      R"(Turns text into token data sets for `lextra train` and `evaluate`:
PREFIX-train and PREFIX-validation (.bin, .idx, .meta.json, .digest.json).
An INPUT is a file or a folder (all files below it; links are followed). The
format is detected from the content: JSON lines hold one document per line, any
other text file is one document; gzip data is decompressed on the fly. Other
formats are an error. Documents are split by a hash of their text, so the same
text is always in the same split.)");
  line.AddFlag("output", &options->prepare.output,
               "prefix of all output files");
  line.AddFlag("tokenizer", &options->tokenizer,
               "byte: 256 bytes and an end-of-text id");
  line.AddFlag("validation_fraction", &options->validation_fraction,
               "fraction of the documents used for validation; 0 and 1\n"
               "write only one of the splits");
  line.AddFlag("min_document_bytes", &options->prepare.min_document_bytes,
               "skip shorter documents");
  line.AddFlag("extension", &options->prepare.extensions,
               "in folders read only files with this extension (.py,\n"
               ".jsonl.gz)");
  line.AddFlag("format", &options->format,
               "auto: detect; text or jsonl: read every file as that");
  line.AddFlag("text_key", &options->prepare.read.text_key,
               "key of the text in a JSON line's object");
  line.AddFlag("split_blank_lines", &options->prepare.read.split_blank_lines,
               "blank lines of text files separate documents");
  line.AddFlag("skip_bad_lines", &options->prepare.read.skip_bad_lines,
               "skip and count invalid JSON lines");
  line.AddFlag("skip_other_formats", &options->prepare.read.skip_other_formats,
               "skip and count files in unsupported formats");
  return line;
}

absl::Status CheckOptions(CommandOptions* options) {
  PrepareOptions& prepare = options->prepare;
  if (prepare.inputs.empty()) {
    return UsageError(
        "no input given: expected files or folders, as in `lextra prepare "
        "--output=data/books books.jsonl.gz`");
  }
  LEXTRA_RETURN_IF_ERROR(CheckOutputPrefix(prepare.output, "data/books"));
  LEXTRA_ASSIGN_OR_RETURN(prepare.tokenizer, MakeTokenizer(options->tokenizer));
  if (!absl::SimpleAtod(options->validation_fraction,
                        &prepare.validation_fraction) ||
      !(prepare.validation_fraction >= 0 && prepare.validation_fraction <= 1)) {
    return UsageError("--validation_fraction=" + options->validation_fraction +
                      ": expected a number from 0 to 1");
  }
  const std::map<std::string, TextFormat> formats = {
      {"auto", TextFormat::kAuto},
      {"text", TextFormat::kText},
      {"jsonl", TextFormat::kJsonLines}};
  const auto format = formats.find(options->format);
  if (format == formats.end()) {
    return UsageError("--format=" + options->format +
                      ": expected auto, text or jsonl");
  }
  prepare.read.format = format->second;
  if (prepare.min_document_bytes < 0) {
    return UsageError(
        absl::StrCat("--min_document_bytes=", prepare.min_document_bytes,
                     ": expected 0 or more"));
  }
  for (const std::string& extension : prepare.extensions) {
    if (extension.size() > 1 && extension.starts_with('.')) continue;
    return UsageError("--extension=" + extension +
                      ": expected a dot and a name, as in --extension=.py");
  }
  return absl::OkStatus();
}

void GiveHints(const PrepareSummary& summary) {
  for (const SplitSummary& split : {summary.train, summary.validation}) {
    if (split.prefix.empty() || split.documents > 0) continue;
    LogHint(
        "no documents in %s: with few documents choose another "
        "--validation_fraction, split texts with --split_blank_lines, or "
        "prepare the two splits from different inputs",
        split.prefix);
  }
  if (summary.binary_documents > 0) {
    LogHint(
        "documents with NUL bytes: %d; they may not be text (select files with "
        "--extension)",
        summary.binary_documents);
  }
  if (summary.other_encodings > 0) {
    LogHint(
        "documents that are not valid UTF-8: %d; their bytes were kept as they "
        "are (convert such files with iconv)",
        summary.other_encodings);
  }
}

}  // namespace

absl::Status RunPrepare(const std::vector<std::string>& arguments) {
  CommandOptions options;
  CommandLine line = MakeCommandLine(&options);
  LEXTRA_ASSIGN_OR_RETURN(const bool helped, line.ParseOrHelp(arguments));
  if (helped) return absl::OkStatus();
  options.prepare.inputs = line.rest();
  LEXTRA_RETURN_IF_ERROR(CheckOptions(&options));
  CatchInterrupts();
  options.prepare.stop_requested = StopIsWanted;
  LEXTRA_ASSIGN_OR_RETURN(const PrepareSummary summary,
                          Prepare(options.prepare));
  PrintResult(SummaryText(summary));
  GiveHints(summary);
  return absl::OkStatus();
}

}  // namespace lextra

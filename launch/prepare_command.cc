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
      "Turns text into token data sets for `lextra train` and `lextra "
      "evaluate`:\nPREFIX-train and PREFIX-validation (.bin, .idx, "
      ".meta.json, .digest.json). An INPUT is a\nfile or a folder (all files "
      "below it, through links too). What a file is, its content\nsays: "
      "JSON lines hold one JSON object a line, any other text is one document; "
      "gzip\ndata is unpacked on the way. Other formats are refused. Documents "
      "are split by a hash\nof their text, so the same text is always on the "
      "same side.");
  line.AddFlag("output", &options->prepare.output,
               "path that the names of all written files begin with");
  line.AddFlag("tokenizer", &options->tokenizer,
               "byte: 256 bytes and an end-of-text id");
  line.AddFlag("validation_fraction", &options->validation_fraction,
               "share of the documents kept for validation; 0 and 1 write one "
               "side alone");
  line.AddFlag("min_document_bytes", &options->prepare.min_document_bytes,
               "leave out shorter documents");
  line.AddFlag("extension", &options->prepare.extensions,
               "in folders take only names that end so (.py, .jsonl.gz)");
  line.AddFlag("format", &options->format,
               "auto, or text or jsonl for all files whatever is in them");
  line.AddFlag("text_key", &options->prepare.read.text_key,
               "key of the text in a JSON line's object");
  line.AddFlag("split_blank_lines", &options->prepare.read.split_blank_lines,
               "blank lines of text files separate documents");
  line.AddFlag("skip_bad_lines", &options->prepare.read.skip_bad_lines,
               "leave out JSON lines that are wrong, and count them");
  line.AddFlag("skip_other_formats", &options->prepare.read.skip_other_formats,
               "leave out files of formats that are not read, and count them");
  return line;
}

absl::Status CheckOptions(CommandOptions* options) {
  PrepareOptions& prepare = options->prepare;
  if (prepare.inputs.empty()) {
    return UsageError(
        "no input: give files or folders, as in `lextra prepare "
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
        "no document fell on %s: with few documents choose another "
        "--validation_fraction, cut texts by --split_blank_lines, or prepare "
        "the two sides from different inputs",
        split.prefix);
  }
  if (summary.binary_documents > 0) {
    LogHint(
        "documents with NUL bytes: %d; they may not be text (choose files by "
        "--extension)",
        summary.binary_documents);
  }
  if (summary.other_encodings > 0) {
    LogHint(
        "documents that are not all UTF-8: %d; their bytes were taken as they "
        "are (convert such files by iconv)",
        summary.other_encodings);
  }
}

}  // namespace

absl::Status RunPrepare(const std::vector<std::string>& arguments) {
  CommandOptions options;
  CommandLine line = MakeCommandLine(&options);
  LEXTRA_RETURN_IF_ERROR(line.Parse(arguments));
  if (line.help_wanted()) {
    PrintResult(line.Help());
    return absl::OkStatus();
  }
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

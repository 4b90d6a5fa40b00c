#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "base/seeds.h"
#include "config/resolve.h"
#include "data/token_dataset.h"
#include "data/token_file_writer.h"
#include "data/tokenizer.h"
#include "evaluator/scoring/documents.h"
#include "evaluator/synthetic/synthetic_trials.h"
#include "launch/arguments/command_line.h"
#include "launch/commands.h"
#include "launch/stop_signals.h"

namespace lextra {
namespace {

struct SynthesizeOptions {
  std::string data;
  std::string output;
  std::string task = "passkey";
  int64_t length = 256;
  int64_t documents = 20000;
  int64_t seed = 1;
};

CommandLine MakeCommandLine(SynthesizeOptions* options) {
  CommandLine line(
      "synthesize --data=PREFIX --output=PREFIX [--task=induction]",
      R"(Writes a token data set to train one of the synthetic tasks that
`lextra evaluate` scores (docs/method.md section 6). Each document is one trial,
at a random depth, filled up with text of the data set --data. A model whose
training_length is --length sees each document as one sample.)");
  line.AddFlag("data", &options->data,
               "byte-level token data set with the filler text");
  line.AddFlag("output", &options->output, "prefix of the output files");
  line.AddFlag("task", &options->task, "passkey or induction");
  line.AddFlag("length", &options->length,
               "tokens per document, with its end-of-text token");
  line.AddFlag("documents", &options->documents, "number of documents");
  line.AddFlag("seed", &options->seed,
               "seed of keys, depths and filler; evaluations draw others");
  return line;
}

absl::Status CheckOptions(const SynthesizeOptions& options) {
  if (options.data.empty()) {
    return UsageError(
        "--data is missing: expected the prefix of a token data set written by "
        "`lextra prepare`");
  }
  LEXTRA_RETURN_IF_ERROR(CheckOutputPrefix(options.output, "data/passkeys"));
  if (options.task != "passkey" && options.task != "induction") {
    return UsageError("--task=" + options.task +
                      ": expected passkey or induction");
  }
  if (options.length < kShortestTask) {
    return UsageError(absl::StrFormat("--length=%d: expected at least %d",
                                      options.length, kShortestTask));
  }
  if (options.documents < 1) {
    return UsageError(absl::StrFormat("--documents=%d: expected 1 or more",
                                      options.documents));
  }
  return absl::OkStatus();
}

absl::Status CheckText(const TokenDataset& text,
                       const std::vector<int64_t>& long_documents,
                       const SynthesizeOptions& options) {
  const auto tokenizer =
      FindTokenizer(text.meta().tokenizer, text.meta().tokenizer_sha256);
  if (tokenizer == nullptr || !tokenizer->ids_are_bytes()) {
    return UsageError(absl::StrCat("--data=", options.data, ": tokenizer is ",
                                   text.meta().tokenizer, ", expected byte"));
  }
  if (!long_documents.empty()) return absl::OkStatus();
  return InputError(absl::StrFormat(
      "%s: no document has more than --length=%d tokens, the filler of one "
      "trial",
      options.data, options.length));
}

// Without its closing eos.
SyntheticTrial Trial(const SynthesizeOptions& options,
                     const std::vector<int64_t>& filler, uint64_t seed) {
  const int64_t length = options.length - 1;
  if (options.task == "induction") return InductionTrial(length, filler, seed);
  std::mt19937_64 random(SeedFor(seed, "depth"));
  const double depth = static_cast<double>(random() % 1001) / 1000;
  return PasskeyTrial(length, depth, filler, seed);
}

absl::Status WriteTrials(const SynthesizeOptions& options,
                         const Documents& documents,
                         const std::vector<int64_t>& long_documents,
                         TokenFileWriter& writer) {
  for (int64_t index = 0; index < options.documents; ++index) {
    if (StopIsWanted()) {
      return Preempted("stopped on request: no data set was written");
    }
    const uint64_t seed =
        SeedFor(index, absl::StrCat("synthesize ", options.task, options.seed));
    const SyntheticTrial trial = Trial(
        options, TrialFiller(documents, long_documents, options.length, seed),
        seed);
    const std::vector<int32_t> tokens(trial.tokens.begin(), trial.tokens.end());
    LEXTRA_RETURN_IF_ERROR(writer.Append(tokens));
    LEXTRA_RETURN_IF_ERROR(writer.EndDocument(std::ssize(tokens)));
  }
  TokenFileWriter* const writers[] = {&writer};
  return TokenFileWriter::Commit(writers);
}

}  // namespace

absl::Status RunSynthesize(const std::vector<std::string>& arguments) {
  SynthesizeOptions options;
  CommandLine line = MakeCommandLine(&options);
  LEXTRA_ASSIGN_OR_RETURN(const bool helped, line.ParseOrHelp(arguments));
  if (helped) return absl::OkStatus();
  if (!line.rest().empty()) {
    return UsageError("unknown argument " + line.rest()[0]);
  }
  LEXTRA_RETURN_IF_ERROR(CheckOptions(options));
  LEXTRA_ASSIGN_OR_RETURN(const TokenDataset text,
                          TokenDataset::Open(options.data));
  const DatasetDocuments documents(text);
  const std::vector<int64_t> long_documents =
      DocumentsLongerThan(documents, options.length);
  LEXTRA_RETURN_IF_ERROR(CheckText(text, long_documents, options));
  CatchInterrupts();
  LEXTRA_ASSIGN_OR_RETURN(const std::unique_ptr<TokenFileWriter> writer,
                          TokenFileWriter::Create(options.output, text.meta()));
  LEXTRA_RETURN_IF_ERROR(
      WriteTrials(options, documents, long_documents, *writer));
  PrintResult(absl::StrFormat("%s: %d documents of %d tokens, %s\n",
                              options.output, options.documents, options.length,
                              options.task));
  return absl::OkStatus();
}

}  // namespace lextra

// lextra checkpoint list | show | import
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "checkpoint/manifest.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/torchscale_import.h"
#include "config/load.h"
#include "launch/command_line.h"
#include "launch/commands.h"

namespace lextra {
namespace {

constexpr char kUsage[] =
    "checkpoint list FOLDER | checkpoint show FOLDER | checkpoint import "
    "--format=torchscale --config=FILE --weights=FILE --to=FOLDER";
constexpr char kDescription[] =
    "list    the checkpoints of a run folder, oldest first\n"
    "show    state, configuration and tensors of one checkpoint (a step "
    "folder, "
    "or\n"
    "        the newest of a run folder)\n"
    "import  a decoder of torchscale: its configuration (JSON) and state_dict\n"
    "        (safetensors) become step 0 of the run folder --to";

int64_t BytesOf(const Manifest& manifest) {
  int64_t bytes = 0;
  for (const ShardFile& file : manifest.files()) bytes += file.bytes();
  return bytes;
}

// "data x tensor" of the ranks that saved.
std::string LayoutText(const Manifest& manifest) {
  const absl::StatusOr<RunConfig> config =
      ParseRunConfig(manifest.state().config(), kManifestName);
  if (!config.ok()) return "?";
  return absl::StrFormat("%d x %d", config->parallel().data(),
                         config->parallel().tensor());
}

std::string MegabytesText(int64_t bytes) {
  return absl::StrFormat("%.2f MB", bytes * 1e-6);
}

absl::Status List(const std::string& run_folder) {
  LEXTRA_ASSIGN_OR_RETURN(const std::vector<std::string> folders,
                          ListCheckpoints(run_folder));
  std::string table =
      absl::StrFormat("%10s %14s %8s %14s %15s\n", "step", "data x tensor",
                      "tensors", "size", "tokens seen");
  for (const std::string& folder : folders) {
    const absl::StatusOr<Manifest> manifest = ReadManifest(folder);
    if (!manifest.ok()) {
      absl::StrAppendFormat(&table, "%10d %s\n", *StepOf(folder),
                            manifest.status().message());
      continue;
    }
    absl::StrAppendFormat(
        &table, "%10d %14s %8d %14s %15d\n", manifest->state().step(),
        LayoutText(*manifest), manifest->tensors_size(),
        MegabytesText(BytesOf(*manifest)), manifest->state().tokens_seen());
  }
  PrintResult(table);
  return absl::OkStatus();
}

std::string TensorTable(const Manifest& manifest) {
  size_t width = 0;
  for (const TensorIndex& tensor : manifest.tensors()) {
    width = std::max(width, tensor.name().size());
  }
  std::string table =
      absl::StrFormat("%-*s %6s  %s\n", width, "tensor", "boxes", "kind");
  for (const TensorIndex& tensor : manifest.tensors()) {
    absl::StrAppendFormat(&table, "%-*s %6d  %s\n", width, tensor.name(),
                          tensor.boxes_size(),
                          KindText(tensor.dtype(), ShapeOf(tensor)));
  }
  return table;
}

absl::Status Show(const std::string& path) {
  LEXTRA_ASSIGN_OR_RETURN(const std::string folder, FindCheckpoint(path));
  LEXTRA_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(folder));
  const TrainingState& state = manifest.state();
  PrintResult(absl::StrFormat(
      "%s\n"
      "save id        %s\n"
      "step           %d\n"
      "tokens seen    %d\n"
      "skipped steps  %d\n"
      "data x tensor  %s\n"
      "size           %s in %d files\n"
      "tokenizer      %s, %d ids, eos %d, sha256 %s\n\n%s\n%s",
      folder, manifest.save_id(), state.step(), state.tokens_seen(),
      state.skipped_steps(), LayoutText(manifest),
      MegabytesText(BytesOf(manifest)), manifest.files_size(),
      state.tokenizer().name().empty() ? "unknown" : state.tokenizer().name(),
      state.tokenizer().vocab_size(), state.tokenizer().eos_id(),
      state.tokenizer().sha256().empty() ? "unknown"
                                         : state.tokenizer().sha256(),
      state.config(), TensorTable(manifest)));
  return absl::OkStatus();
}

}  // namespace

absl::Status RunCheckpoint(const std::vector<std::string>& arguments) {
  std::string format;
  std::string config;
  std::string weights;
  std::string to;
  CommandLine line(kUsage, kDescription);
  line.AddFlag("format", &format, "import: what is read; torchscale");
  line.AddFlag("config", &config, "import: the decoder's configuration");
  line.AddFlag("weights", &weights, "import: its state_dict");
  line.AddFlag("to", &to, "import: the run folder to write");
  LEXTRA_RETURN_IF_ERROR(line.Parse(arguments));
  if (line.help_wanted()) {
    PrintResult(line.Help());
    return absl::OkStatus();
  }
  const std::vector<std::string>& words = line.rest();
  const bool has_flags = !(format + config + weights + to).empty();
  if (words.size() == 2 && words[0] == "list" && !has_flags) {
    return List(words[1]);
  }
  if (words.size() == 2 && words[0] == "show" && !has_flags) {
    return Show(words[1]);
  }
  if (words != std::vector<std::string>{"import"}) {
    return UsageError(absl::StrCat("expected lextra ", kUsage));
  }
  if (format != "torchscale") {
    return UsageError(
        absl::StrCat("--format=", format, ": only torchscale can be imported"));
  }
  if (config.empty() || weights.empty() || to.empty()) {
    return UsageError(
        "checkpoint import needs --config=FILE --weights=FILE --to=FOLDER");
  }
  LEXTRA_RETURN_IF_ERROR(ImportTorchscale(config, weights, to));
  PrintResult(absl::StrCat("imported ", weights, " as ", to, "/",
                           StepFolderName(0), "\n"));
  return absl::OkStatus();
}

}  // namespace lextra

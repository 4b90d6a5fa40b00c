// lextra checkpoint list | show | verify | copy | import
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "checkpoint/files/checkpoint_copy.h"
#include "checkpoint/files/manifest.h"
#include "checkpoint/files/safetensors.h"
#include "checkpoint/files/step_folders.h"
#include "config/load.h"
#include "launch/arguments/command_line.h"
#include "launch/arguments/output_paths.h"
#include "launch/checkpoint_import.h"
#include "launch/commands.h"

namespace lextra {
namespace {

constexpr char kUsage[] =
    "checkpoint list FOLDER | show FOLDER | verify FOLDER ... | "
    "copy FOLDER RUN_FOLDER | "
    "import --format=torchscale --config=FILE --weights=FILE --to=FOLDER";
constexpr char kDescription[] =
    R"(list    lists the checkpoints of a run folder, oldest first; checks
        manifests and file sizes, but no checksums
show    shows state, configuration and tensors of one checkpoint (a step
        folder, or the newest of a run folder)
verify  reads every byte of checkpoints (step folders, or all of run folders),
        compares checksums and names the corrupt file, tensor and byte
copy    copies one checkpoint into another run folder and verifies the copy
import  writes a torchscale decoder, its configuration (JSON) and state_dict
        (safetensors), as step 0 of the run folder --to)";

// "data x tensor" of the ranks that saved.
std::string LayoutText(const Manifest& manifest) {
  const absl::StatusOr<RunConfig> config =
      ParseStoredRunConfig(manifest.state().config(), kManifestName);
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
  if (folders.empty() && FindCheckpoint(run_folder).ok()) {
    return UsageError(absl::StrFormat(
        "%s is a checkpoint, not a run folder: lextra checkpoint show %s",
        run_folder, run_folder));
  }
  std::string table =
      absl::StrFormat("%10s %14s %8s %14s %15s  %s\n", "step", "data x tensor",
                      "tensors", "size", "tokens seen", "state");
  for (const std::string& folder : folders) {
    const absl::StatusOr<Manifest> manifest = ReadManifest(folder);
    if (!manifest.ok()) {
      absl::StrAppendFormat(&table, "%10d %14s %8s %14s %15s  %s\n",
                            *StepOf(folder), "", "", "", "",
                            manifest.status().message());
      continue;
    }
    absl::StrAppendFormat(
        &table, "%10d %14s %8d %14s %15d  %s\n", manifest->state().step(),
        LayoutText(*manifest), manifest->tensors_size(),
        MegabytesText(BytesOf(*manifest)), manifest->state().tokens_seen(),
        HasChecksums(*manifest) ? "intact" : "intact, without checksums");
  }
  PrintResult(table);
  LEXTRA_ASSIGN_OR_RETURN(const std::vector<std::string> damaged,
                          ListDamaged(run_folder));
  for (const std::string& name : damaged) {
    PrintResult(
        absl::StrFormat("set aside as corrupt: %s/%s\n", run_folder, name));
  }
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

// The checkpoints that a path refers to.
absl::StatusOr<std::vector<std::string>> CheckpointsAt(
    const std::string& path) {
  LEXTRA_ASSIGN_OR_RETURN(const std::string newest, FindCheckpoint(path));
  if (newest == path) return std::vector<std::string>{path};
  return ListCheckpoints(path);
}

absl::Status Verify(const std::vector<std::string>& paths) {
  int num_damaged = 0;
  for (const std::string& path : paths) {
    LEXTRA_ASSIGN_OR_RETURN(const std::vector<std::string> folders,
                            CheckpointsAt(path));
    for (const std::string& folder : folders) {
      const absl::StatusOr<Manifest> manifest = VerifyCheckpoint(folder);
      if (!manifest.ok()) {
        ++num_damaged;
        PrintResult(
            absl::StrFormat("corrupt  %s\n", manifest.status().message()));
        continue;
      }
      PrintResult(absl::StrFormat(
          "intact   %s: %s in %d files%s\n", folder,
          MegabytesText(BytesOf(*manifest)), manifest->files_size(),
          HasChecksums(*manifest) ? "" : ", without checksums"));
    }
  }
  if (num_damaged == 0) return absl::OkStatus();
  return CheckpointError(
      absl::StrFormat("%d checkpoint(s) are unusable", num_damaged));
}

absl::Status Copy(const std::string& path, const std::string& run_folder) {
  LEXTRA_RETURN_IF_ERROR(CheckOutsideCheckpoints("RUN_FOLDER", run_folder));
  LEXTRA_ASSIGN_OR_RETURN(const std::string from, FindCheckpoint(path));
  LEXTRA_ASSIGN_OR_RETURN(const std::string to,
                          CopyCheckpoint(from, run_folder));
  PrintResult(absl::StrCat("copied ", from, " as ", to, "\n"));
  return absl::OkStatus();
}

absl::Status Import(const std::string& format, const std::string& config,
                    const std::string& weights, const std::string& to) {
  if (config.empty() || weights.empty() || to.empty()) {
    return UsageError(
        "checkpoint import needs --config=FILE --weights=FILE --to=FOLDER");
  }
  LEXTRA_RETURN_IF_ERROR(CheckOutsideCheckpoints("--to", to));
  LEXTRA_RETURN_IF_ERROR(ImportCheckpoint(format, config, weights, to));
  PrintResult(absl::StrCat(
      "imported ", weights, " as ",
      (std::filesystem::path(to) / StepFolderName(0)).string(), "\n"));
  return absl::OkStatus();
}

}  // namespace

absl::Status RunCheckpoint(const std::vector<std::string>& arguments) {
  std::string format;
  std::string config;
  std::string weights;
  std::string to;
  CommandLine line(kUsage, kDescription);
  line.AddFlag("format", &format,
               "import: input format (available: torchscale)");
  line.AddFlag("config", &config,
               "import: configuration of the decoder (JSON)");
  line.AddFlag("weights", &weights,
               "import: state_dict of the decoder (safetensors)");
  line.AddFlag("to", &to, "import: run folder to write");
  LEXTRA_ASSIGN_OR_RETURN(const bool helped, line.ParseOrHelp(arguments));
  if (helped) return absl::OkStatus();
  const std::vector<std::string>& words = line.rest();
  const std::string verb = words.empty() ? "" : words[0];
  if (verb == "import" && words.size() == 1) {
    return Import(format, config, weights, to);
  }
  const bool has_flags = !(format + config + weights + to).empty();
  if (!has_flags) {
    if (verb == "list" && words.size() == 2) return List(words[1]);
    if (verb == "show" && words.size() == 2) return Show(words[1]);
    if (verb == "verify" && words.size() >= 2) {
      return Verify({words.begin() + 1, words.end()});
    }
    if (verb == "copy" && words.size() == 3) return Copy(words[1], words[2]);
  }
  return UsageError(absl::StrCat("expected lextra ", kUsage));
}

}  // namespace lextra

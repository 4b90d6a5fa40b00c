#include "checkpoint/resume.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/hash/digest.h"
#include "base/io/open_files.h"
#include "base/log.h"
#include "checkpoint/files/step_folders.h"
#include "parallel/agreement.h"

namespace lextra {
namespace {

// A run whose checkpoints have vanished does not silently restart from scratch.
// One that died before its first save has left no such trace.
absl::Status CheckNeverSaved(const std::string& run_folder) {
  LEXTRA_ASSIGN_OR_RETURN(const std::string trace,
                          FindTraceOfCheckpoint(run_folder));
  if (trace.empty()) return absl::OkStatus();
  return CheckpointError(absl::StrFormat(
      "%s: had checkpoints, as its %s shows, but has no step-* folder; restore "
      "one or a link to it. For a new run choose another --run_dir, or remove "
      "%s/%s to train from step 1 here",
      run_folder, trace, run_folder, trace));
}

// The checkpoints to try, newest first; an error if the mode forbids what
// exists.
absl::StatusOr<std::vector<std::string>> Candidates(
    const std::string& run_folder, const ResumeMode& mode) {
  LEXTRA_ASSIGN_OR_RETURN(std::vector<std::string> folders,
                          ListCheckpoints(run_folder));
  LEXTRA_ASSIGN_OR_RETURN(const std::vector<std::string> damaged,
                          ListDamaged(run_folder));
  if (folders.empty() && !damaged.empty()) {
    return CheckpointError(absl::StrFormat(
        "%s: all its checkpoints are corrupt (%s and %d more); restore one "
        "under its name step-*, or choose another --run_dir",
        run_folder, damaged.back(), damaged.size() - 1));
  }
  if (folders.empty()) LEXTRA_RETURN_IF_ERROR(CheckNeverSaved(run_folder));
  if (mode.kind == ResumeMode::kMust && folders.empty()) {
    return CheckpointError(absl::StrCat(
        run_folder, ": --resume=must, but there is no checkpoint"));
  }
  if (mode.kind == ResumeMode::kNone && !folders.empty()) {
    return CheckpointError(
        absl::StrCat(run_folder, ": --resume=none, but there is a checkpoint (",
                     folders.back(), "); choose another --run_dir"));
  }
  if (mode.kind == ResumeMode::kStep) {
    std::erase_if(folders, [&mode](const std::string& folder) {
      return StepOf(folder) != mode.step;
    });
    if (folders.empty()) {
      return CheckpointError(
          absl::StrFormat("%s: --resume=%d, but there is no %s; `lextra "
                          "checkpoint list` shows what is available",
                          run_folder, mode.step, StepFolderName(mode.step)));
    }
  }
  return std::vector<std::string>(folders.rbegin(), folders.rend());
}

// Rank 0's manifest of a step folder, on all ranks.
absl::StatusOr<Manifest> ShareManifest(Communicator& world,
                                       const std::string& step_folder) {
  LEXTRA_ASSIGN_OR_RETURN(
      const std::string bytes,
      LoadOnRankZero(world, [&]() -> absl::StatusOr<std::string> {
        LEXTRA_ASSIGN_OR_RETURN(const Manifest manifest,
                                ReadManifest(step_folder));
        return manifest.SerializeAsString();
      }));
  Manifest manifest;
  TORCH_CHECK(manifest.ParseFromString(bytes));
  return manifest;
}

// Size and last bytes of MANIFEST.json, which contain the digest of the rest:
// cheap for thousands of ranks.
std::string EndOfManifest(const std::string& step_folder) {
  constexpr int64_t kEndBytes = 128;
  const absl::StatusOr<InputFile> file =
      InputFile::Open(absl::StrCat(step_folder, "/", kManifestName));
  if (!file.ok()) return "none";
  std::string end(std::min(kEndBytes, file->size()), '\0');
  const absl::Status read =
      file->Read(file->size() - std::ssize(end),
                 std::as_writable_bytes(std::span(end.data(), end.size())));
  if (!read.ok()) return "unreadable";
  return absl::StrFormat("%d bytes, digest %s", file->size(), DigestOf(end));
}

absl::Status TryToLoad(Communicator& world, const std::string& step_folder,
                       const LoadCheckpoint& load) {
  LEXTRA_RETURN_IF_ERROR(CheckSameCheckpoint(world, step_folder));
  LEXTRA_ASSIGN_OR_RETURN(const Manifest manifest,
                          ShareManifest(world, step_folder));
  return AgreeOnStatus(world, load(step_folder, manifest));
}

// On rank 0, since the run will write these steps again.
absl::Status SetNewerAside(const std::string& run_folder, int64_t step) {
  LEXTRA_ASSIGN_OR_RETURN(const std::vector<std::string> folders,
                          ListCheckpoints(run_folder));
  for (const std::string& folder : folders) {
    if (StepOf(folder).value() <= step) continue;
    LEXTRA_ASSIGN_OR_RETURN(const std::string aside, SetAsideOld(folder));
    LogInfo("run reset to step %d: %s moved to %s", step, folder, aside);
  }
  return absl::OkStatus();
}

// On rank 0, so that no rank tries it again; the reason is stored with it.
absl::Status SetDamagedAside(const std::string& folder,
                             const absl::Status& damage) {
  LEXTRA_ASSIGN_OR_RETURN(
      const std::string aside,
      SetAsideDamaged(folder, std::string(damage.message())));
  LogWarning("%s is corrupt and was set aside as %s: %s", folder, aside,
             damage.message());
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckSameCheckpoint(Communicator& world,
                                 const std::string& step_folder) {
  const std::string difference =
      DifferenceOverRanks(world, EndOfManifest(step_folder));
  if (difference.empty()) return absl::OkStatus();
  return CheckpointError(absl::StrFormat(
      "%s/%s differs between ranks: %s; put one checkpoint on storage that "
      "all hosts share, or the same copy on each",
      step_folder, kManifestName, difference));
}

absl::StatusOr<ResumeMode> ParseResumeMode(const std::string& text) {
  if (text == "auto") return ResumeMode{ResumeMode::kAuto};
  if (text == "must") return ResumeMode{ResumeMode::kMust};
  if (text == "none") return ResumeMode{ResumeMode::kNone};
  ResumeMode mode = {ResumeMode::kStep};
  if (absl::SimpleAtoi(text, &mode.step) && mode.step >= 0) return mode;
  return UsageError("--resume=" + text +
                    ": expected auto, must, none or a step number");
}

absl::StatusOr<std::string> LoadNewestValid(Communicator& world,
                                            const std::string& run_folder,
                                            ResumeMode mode,
                                            const LoadCheckpoint& load) {
  // Rank 0 searches; all ranks load what it found.
  LEXTRA_ASSIGN_OR_RETURN(
      const std::string lines,
      LoadOnRankZero(world, [&]() -> absl::StatusOr<std::string> {
        LEXTRA_ASSIGN_OR_RETURN(const std::vector<std::string> folders,
                                Candidates(run_folder, mode));
        return absl::StrJoin(
            folders, "\n", [](std::string* names, const std::string& folder) {
              *names += std::filesystem::path(folder).filename().string();
            });
      }));
  std::istringstream names(lines);
  int num_damaged = 0;
  absl::Status status;
  for (std::string name; std::getline(names, name); ++num_damaged) {
    const std::string folder = run_folder + "/" + name;
    status = TryToLoad(world, folder, load);
    const bool is_rank_zero = world.rank() == 0;
    if (status.ok()) {
      absl::Status set_back;
      if (is_rank_zero && mode.kind == ResumeMode::kStep) {
        set_back = SetNewerAside(run_folder, mode.step);
      }
      LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(world, set_back));
      return folder;
    }
    if (!IsDamaged(status) || mode.kind == ResumeMode::kStep) return status;
    absl::Status aside;
    if (is_rank_zero) aside = SetDamagedAside(folder, status);
    LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(world, aside));
  }
  if (num_damaged == 0) return std::string();
  return CheckpointError(absl::StrFormat(
      "%s: none of its %d checkpoint(s) is intact (%s); they were set aside as "
      ".bad-*, each with the reason in WHY.txt; restore one under its name "
      "step-*, or choose another --run_dir",
      run_folder, num_damaged, status.message()));
}

}  // namespace lextra

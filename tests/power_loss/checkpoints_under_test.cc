#include "tests/power_loss/checkpoints_under_test.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <random>
#include <span>

#include "checkpoint/files/checkpoint_copy.h"
#include "checkpoint/files/shard_file.h"
#include "checkpoint/files/shard_reader.h"
#include "checkpoint/files/step_folders.h"
#include "checkpoint/files/step_save.h"

namespace lextra::power_loss {
namespace {

namespace fs = std::filesystem;

constexpr int kNumRanks = 2;
// Two tensors of 512 KiB, each cut in two: a rank stores half of both.
constexpr char kDtype[] = "I64";
constexpr int64_t kRows = 256, kWidth = 256;
const std::vector<std::string> kTensors = {"embed.weight", "fc.weight"};

// All elements of a tensor, in C order.
std::vector<uint64_t> Contents(int64_t step, size_t tensor) {
  std::mt19937_64 random(step * kTensors.size() + tensor);
  std::vector<uint64_t> words(kRows * kWidth);
  std::ranges::generate(words, random);
  return words;
}

Box RowsOf(int rank) {
  constexpr int64_t kRowsOfRank = kRows / kNumRanks;
  return {{rank * kRowsOfRank, 0}, {kRowsOfRank, kWidth}};
}

ShardImage FilledImage(int64_t step, int rank) {
  std::vector<TensorToStore> tensors;
  for (const std::string& name : kTensors) {
    tensors.push_back({name, kDtype, {kRows, kWidth}, {RowsOf(rank)}});
  }
  ShardImage image(std::move(tensors));
  for (const ShardImage::Entry& entry : image.entries()) {
    const std::vector<uint64_t> words = Contents(step, entry.tensor);
    std::memcpy(image.data().data() + entry.begin,
                words.data() + entry.box.offset[0] * kWidth, entry.num_bytes);
  }
  return image;
}

StepSave SaveOf(const std::string& folder, int64_t step) {
  return {.run_folder = folder, .step = step, .save_id = ""};
}

absl::Status Save(const std::string& folder, int64_t step) {
  std::vector<ShardImage> images;
  int64_t num_bytes = 0;
  for (int rank = 0; rank < kNumRanks; ++rank) {
    images.push_back(FilledImage(step, rank));
    num_bytes += static_cast<int64_t>(images.back().data().size());
  }
  LEXTRA_ASSIGN_OR_RETURN(const StepSave save,
                          BeginSave(folder, step, num_bytes));
  std::vector<Manifest> shards;
  for (int rank = 0; rank < kNumRanks; ++rank) {
    LEXTRA_ASSIGN_OR_RETURN(shards.emplace_back(),
                            WriteShard(save.temporary_folder(), save.save_id,
                                       rank, kNumRanks, images[rank]));
  }
  TrainingState state;
  state.set_step(step);
  return CommitSave(save, {.run_id = "power_loss", .program = "test"}, state,
                    shards);
}

absl::Status VerifyContents(const std::string& folder, int64_t step) {
  const std::string step_folder = SaveOf(folder, step).step_folder();
  LEXTRA_ASSIGN_OR_RETURN(const Manifest manifest,
                          VerifyCheckpoint(step_folder));
  if (manifest.state().step() != step) return DamagedError("another step");
  ShardReader reader(step_folder, manifest);
  for (size_t i = 0; i < kTensors.size(); ++i) {
    LEXTRA_ASSIGN_OR_RETURN(const TensorIndex* tensor,
                            reader.Find(kTensors[i], kDtype, {kRows, kWidth}));
    std::vector<uint64_t> words(kRows * kWidth);
    LEXTRA_RETURN_IF_ERROR(
        reader.Read(*tensor, Box::Whole({kRows, kWidth}),
                    std::as_writable_bytes(std::span(words))));
    if (words != Contents(step, i)) {
      return DamagedError(kTensors[i] + " is whole, but of another save");
    }
  }
  return absl::OkStatus();
}

bool IsGood(const absl::Status& status) {
  if (!status.ok()) std::cerr << status.message() << "\n";
  return status.ok();
}

}  // namespace

bool SaveOnce(const std::string& folder, int64_t step) {
  return IsGood(Save(folder, step));
}

bool ReadBack(const std::string& folder, int64_t step,
              std::set<int64_t>* verified) {
  const StepSave save = SaveOf(folder, step);
  NameLatest(save);
  const bool is_good = IsGood(VerifyCheckpoint(save.step_folder()).status());
  if (is_good) verified->insert(step);
  return is_good;
}

bool DeleteOld(const std::string& folder, const std::set<int64_t>& verified) {
  return IsGood(
      DeleteOldCheckpoints(folder, {.keep_last = kNumKept}, verified));
}

std::vector<int64_t> CommittedSteps(const std::string& folder) {
  std::vector<int64_t> steps;
  const std::vector<std::string> paths = ListCheckpoints(folder).value();
  for (const std::string& path : paths) {
    steps.push_back(StepOf(path).value());
  }
  return steps;
}

bool RemoveRests(const std::string& folder) {
  return IsGood(RemoveLeftovers(folder));
}

std::string Verify(const std::string& folder, int64_t step) {
  return std::string(VerifyContents(folder, step).message());
}

}  // namespace lextra::power_loss

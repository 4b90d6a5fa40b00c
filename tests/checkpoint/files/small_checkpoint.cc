#include "tests/checkpoint/files/small_checkpoint.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "checkpoint/files/checkpoint_copy.h"
#include "checkpoint/files/safetensors.h"
#include "checkpoint/files/shard_file.h"
#include "checkpoint/files/shard_reader.h"

namespace lextra {
namespace {

std::vector<std::vector<Box>> ByRank(std::vector<Box> rank_0,
                                     std::vector<Box> rank_1,
                                     std::vector<Box> rank_2) {
  return {std::move(rank_0), std::move(rank_1), std::move(rank_2)};
}

// Calls take(place) for every place of a box, in C order.
template <typename Take>
void ForEachPlace(const Box& box, Take take) {
  std::vector<int64_t> place = box.offset;
  for (int64_t i = 0; i < box.num_elements(); ++i) {
    take(place);
    for (size_t dim = place.size(); dim-- > 0;) {
      if (++place[dim] < box.offset[dim] + box.shape[dim]) break;
      place[dim] = box.offset[dim];
    }
  }
}

absl::StatusOr<Manifest> WriteRank(const StepSave& save, int rank,
                                   const std::vector<KnownTensor>& tensors) {
  std::vector<TensorToStore> to_store;
  for (const KnownTensor& tensor : tensors) {
    to_store.push_back(
        {tensor.name, tensor.dtype, tensor.shape, tensor.boxes[rank]});
  }
  ShardImage image(std::move(to_store));
  image.Touch();
  for (const ShardImage::Entry& entry : image.entries()) {
    const std::vector<std::byte> bytes =
        BytesOfBox(tensors[entry.tensor], entry.box);
    std::copy(bytes.begin(), bytes.end(), image.data().begin() + entry.begin);
  }
  return WriteShard(save.temporary_folder(), save.save_id, rank, kNumShards,
                    image);
}

absl::Status FillAndCommit(const StepSave& save,
                           const std::vector<KnownTensor>& tensors) {
  std::vector<Manifest> shards;
  for (int rank = 0; rank < kNumShards; ++rank) {
    LEXTRA_ASSIGN_OR_RETURN(Manifest shard, WriteRank(save, rank, tensors));
    shards.push_back(std::move(shard));
  }
  TrainingState state;
  state.set_step(save.step);
  return CommitSave(save, {"known-run", "lextra test"}, state, shards);
}

}  // namespace

std::vector<KnownTensor> KnownTensors(Size size, int seed) {
  const bool tiny = size == Size::kTiny;
  const int64_t tall = tiny ? 20 : 2560;
  const int64_t depth = tiny ? 8 : 1024;
  const int64_t width = tiny ? 6 : 1024;
  const int64_t cut = tiny ? 4 : 600;
  std::vector<KnownTensor> tensors = {
      {"rows",
       "F32",
       {12, 10},
       ByRank({{{0, 0}, {4, 10}}}, {{{4, 0}, {4, 10}}}, {{{8, 0}, {4, 10}}})},
      {"columns",
       "BF16",
       {7, 9},
       ByRank({{{0, 4}, {7, 5}}}, {}, {{{0, 0}, {7, 4}}})},
      {"cube",
       "I64",
       {3, 4, 5},
       ByRank({}, {{{0, 0, 0}, {1, 4, 5}}, {{1, 0, 2}, {2, 4, 3}}},
              {{{1, 0, 0}, {2, 4, 2}}})},
      {"tall",
       "U8",
       {tall, depth},
       ByRank({Box::Whole({tall, depth})}, {}, {})},
      {"wide",
       "F32",
       {tall / 4, width},
       ByRank({}, {{{0, 0}, {tall / 4, cut}}},
              {{{0, cut}, {tall / 4, width - cut}}})},
      {"empty", "F32", {0, 8}, ByRank({}, {}, {})},
      {"scalar", "F64", {}, ByRank({}, {}, {Box()})}};
  std::mt19937_64 random(seed);
  for (KnownTensor& tensor : tensors) {
    tensor.bytes.resize(*TensorBytes(tensor.dtype, tensor.shape));
    for (std::byte& byte : tensor.bytes) {
      byte = static_cast<std::byte>(random());
    }
  }
  return tensors;
}

std::vector<std::byte> BytesOfBox(const KnownTensor& tensor, const Box& box) {
  const int64_t size = *DtypeBytes(tensor.dtype);
  std::vector<std::byte> bytes(box.num_elements() * size);
  std::byte* to = bytes.data();
  ForEachPlace(box, [&](const std::vector<int64_t>& place) {
    int64_t index = 0;
    for (size_t dim = 0; dim < place.size(); ++dim) {
      index = index * tensor.shape[dim] + place[dim];
    }
    std::memcpy(to, tensor.bytes.data() + index * size, size);
    to += size;
  });
  return bytes;
}

absl::StatusOr<std::string> SaveKnown(const std::string& run_folder,
                                      int64_t step,
                                      const std::vector<KnownTensor>& tensors) {
  int64_t num_bytes = 0;
  for (const KnownTensor& tensor : tensors) {
    num_bytes += static_cast<int64_t>(tensor.bytes.size());
  }
  LEXTRA_ASSIGN_OR_RETURN(const StepSave save,
                          BeginSave(run_folder, step, num_bytes));
  const absl::Status status = FillAndCommit(save, tensors);
  if (status.ok()) return save.step_folder();
  AbandonSave(save).IgnoreError();  // the trouble may last
  return status;
}

ReadResult ReadKnown(const std::string& step_folder,
                     const std::vector<KnownTensor>& tensors) {
  ReadResult result;
  const absl::StatusOr<Manifest> manifest = ReadManifest(step_folder);
  result.status = manifest.status();
  if (!manifest.ok()) return result;
  ShardReader reader(step_folder, *manifest);
  for (const KnownTensor& known : tensors) {
    std::vector<std::byte> bytes(known.bytes.size());
    const auto tensor = reader.Find(known.name, known.dtype, known.shape);
    const absl::Status status =
        tensor.ok() ? reader.Read(**tensor, Box::Whole(known.shape), bytes)
                    : tensor.status();
    if (!status.ok()) result.status = status;
    if (status.ok() && bytes != known.bytes) result.has_wrong = true;
  }
  result.bytes_read = reader.bytes_read();
  return result;
}

bool IsWhole(const std::string& step_folder,
             const std::vector<KnownTensor>& tensors) {
  const ReadResult result = ReadKnown(step_folder, tensors);
  return VerifyCheckpoint(step_folder).ok() && result.status.ok() &&
         !result.has_wrong;
}

}  // namespace lextra

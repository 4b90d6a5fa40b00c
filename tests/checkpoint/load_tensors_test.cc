// Ranks are laid out as data x tensor by hand: rank = data * num_tensor +
// tensor, and every tensor is cut from known whole ones.
#include "checkpoint/load_tensors.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "checkpoint/checkpoint_saver.h"
#include "checkpoint/files/step_folders.h"
#include "parallel/agreement.h"
#include "tests/testing/golden.h"
#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Of the model under test.
constexpr int kMaxTensor = 4;

struct MeshLayout {
  int data = 1;
  int tensor = 1;
};

// A tensor of the model under test and the dimension that the tensor axis cuts
// (-1: every rank holds the whole).
struct WholeTensor {
  std::string name;
  at::Tensor values;
  int split_dim = -1;
};

std::vector<WholeTensor> Model() {
  const auto values = [](std::vector<int64_t> shape, at::ScalarType dtype,
                         double scale) {
    int64_t count = 1;
    for (const int64_t extent : shape) count *= extent;
    return (at::arange(1, count + 1, at::kDouble) * scale)
        .to(dtype)
        .view(shape);
  };
  return {{"rows", values({8, 6}, at::kFloat, 1.0 / 3), 0},
          {"columns", values({6, 8}, at::kFloat, -1.0 / 7), 1},
          {"middle", values({4, 8, 3}, at::kDouble, 1.0 / 9), 1},
          {"replicated", values({5}, at::kFloat, 1.0 / 11)},
          {"half", values({7, 3}, at::kBFloat16, 1.0)},
          {"count", values({1}, at::kLong, 41)},
          {"scalar", at::scalar_tensor(1.0 / 13, at::kDouble)},
          {"empty", at::empty({0, 4}, at::kFloat)},
          {"flags", values({9}, at::kLong, 1) % 2 == 0}};
}

// The box of `whole` that `rank` holds. `values` are cut out as a view, so
// they are not contiguous where a column is cut.
ShardedTensor ShardOf(const WholeTensor& whole, MeshLayout layout, int rank) {
  const int num_parts = whole.split_dim < 0 ? 1 : layout.tensor;
  const int part = whole.split_dim < 0 ? 0 : rank % layout.tensor;
  ShardedTensor shard;
  shard.name = whole.name;
  shard.global_shape = whole.values.sizes().vec();
  shard.split_dim = whole.split_dim;
  shard.box = Box::Whole(shard.global_shape);
  shard.tensor = whole.values;
  if (whole.split_dim >= 0) {
    const int64_t extent = shard.global_shape[whole.split_dim] / num_parts;
    shard.box.offset[whole.split_dim] = part * extent;
    shard.box.shape[whole.split_dim] = extent;
    shard.tensor = whole.values.narrow(whole.split_dim, part * extent, extent);
  }
  shard.num_replicas = layout.data * layout.tensor / num_parts;
  shard.replica = num_parts == 1 ? rank : rank / layout.tensor;
  return shard;
}

std::vector<ShardedTensor> ShardsOf(const std::vector<WholeTensor>& model,
                                    MeshLayout layout, int rank) {
  std::vector<ShardedTensor> shards;
  for (const WholeTensor& whole : model) {
    shards.push_back(ShardOf(whole, layout, rank));
  }
  return shards;
}

// What the rank wants at `layout`, into memory of its own.
std::vector<ShardedTensor> EmptyShards(const std::vector<WholeTensor>& model,
                                       MeshLayout layout, int rank) {
  std::vector<ShardedTensor> shards = ShardsOf(model, layout, rank);
  for (ShardedTensor& shard : shards) {
    shard.tensor = at::zeros(shard.box.shape, shard.tensor.options());
  }
  return shards;
}

class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() : world_(testing::Session().World()) {
    if (world_->rank() == 0) folder_.emplace();
    run_folder_ =
        BroadcastText(*world_, folder_ ? folder_->path() + "/run" : "", 0);
  }
  ~CheckpointTest() override { world_->Barrier(); }

  absl::Status Save(int64_t step, const std::vector<ShardedTensor>& tensors,
                    int keep_last = 2) {
    TrainingState state;
    state.set_step(step);
    state.set_tokens_seen(step * 1000);
    CheckpointSaver saver(
        *world_,
        {.run_folder = run_folder_,
         .origin = {},
         .retention = {.keep_last = keep_last, .keep_every = 0},
         .max_tensor = kMaxTensor},
        tensors);
    saver.Start(state, tensors);
    saver.Finish();
    return saver.TakeOutcomes().at(0).status;
  }

  std::string StepFolder(int64_t step) const {
    return absl::StrCat(run_folder_, "/", StepFolderName(step));
  }

  // Names in the run folder, once all ranks are here; no rank continues before
  // all have looked.
  std::vector<std::string> NamesInRunFolder() {
    world_->Barrier();
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(run_folder_)) {
      names.insert(entry.path().filename().string());
    }
    world_->Barrier();
    return {names.begin(), names.end()};
  }

  // Every data x tensor layout of this many ranks.
  static std::vector<MeshLayout> Layouts(int num_ranks) {
    std::vector<MeshLayout> layouts;
    for (const int tensor : {1, 2, 4}) {
      if (num_ranks % tensor == 0) {
        layouts.push_back({num_ranks / tensor, tensor});
      }
    }
    return layouts;
  }

  void ExpectLoads(int64_t step, MeshLayout layout, int rank) {
    const absl::StatusOr<Manifest> manifest = ReadManifest(StepFolder(step));
    ASSERT_TRUE(manifest.ok()) << manifest.status();
    EXPECT_EQ(manifest->state().tokens_seen(), step * 1000);
    const std::vector<ShardedTensor> loaded =
        EmptyShards(Model(), layout, rank);
    const absl::Status status =
        LoadTensors(StepFolder(step), *manifest, loaded);
    ASSERT_TRUE(status.ok()) << status;
    const std::vector<ShardedTensor> expected = ShardsOf(Model(), layout, rank);
    for (size_t i = 0; i < loaded.size(); ++i) {
      EXPECT_TRUE(at::equal(loaded[i].tensor, expected[i].tensor))
          << loaded[i].name << " at " << layout.data << " x " << layout.tensor;
    }
  }

  bool IsRankZero() const { return world_->rank() == 0; }

  std::unique_ptr<Communicator> world_;
  std::optional<testing::TemporaryFolder> folder_;
  std::string run_folder_;
};

TEST_F(CheckpointTest, AnyLayoutLoadsWhatAnyOtherSavedBitEqual) {
  int64_t step = 0;
  for (const MeshLayout saved : Layouts(world_->size())) {
    const absl::Status status =
        Save(++step, ShardsOf(Model(), saved, world_->rank()), 10);
    ASSERT_TRUE(status.ok()) << status;
    // Loading asks no other rank, so each rank plays all ranks of each layout.
    for (const int num_ranks : {1, 2, 4}) {
      for (const MeshLayout loaded : Layouts(num_ranks)) {
        for (int rank = 0; rank < num_ranks; ++rank) {
          ExpectLoads(step, loaded, rank);
        }
      }
    }
  }
}

TEST_F(CheckpointTest, PackedPiecesAndSlicesOfFlatBuffersLoadAsTheirTensors) {
  // q and k in one leaf, as rows; each rank holds its rows of both.
  const int num_ranks = world_->size();
  const int64_t rows = 8 / num_ranks;
  const at::Tensor q = at::arange(24, at::kFloat).view({8, 3});
  const at::Tensor k = q + 100;
  const Box box = {{rows * world_->rank(), 0}, {rows, 3}};
  const at::Tensor leaf = at::cat(
      {q.narrow(0, box.offset[0], rows), k.narrow(0, box.offset[0], rows)});
  const auto pieces = [&](const at::Tensor& like) {
    return std::vector<ShardedTensor>{{.name = "q",
                                       .global_shape = {8, 3},
                                       .box = box,
                                       .tensor = like.narrow(0, 0, rows)},
                                      {.name = "k",
                                       .global_shape = {8, 3},
                                       .box = box,
                                       .tensor = like.narrow(0, rows, rows)}};
  };
  // Places 4 to 13 of a [4, 5] tensor are two boxes: one row's end and rows.
  const at::Tensor flat = at::arange(20, at::kFloat).view({4, 5});
  std::vector<ShardedTensor> saved = pieces(leaf);
  const std::vector<Box> slices = {
      {{0, 0}, {1, 4}}, {{0, 4}, {1, 1}}, {{1, 0}, {2, 5}}, {{3, 0}, {1, 5}}};
  for (const Box& slice : slices) {
    saved.push_back(
        {.name = "flat",
         .global_shape = {4, 5},
         .box = slice,
         .replica = world_->rank(),
         .num_replicas = num_ranks,
         .tensor = flat.narrow(0, slice.offset[0], slice.shape[0])
                       .narrow(1, slice.offset[1], slice.shape[1])});
  }
  const absl::Status status = Save(1, saved);
  ASSERT_TRUE(status.ok()) << status;
  const absl::StatusOr<Manifest> manifest = ReadManifest(StepFolder(1));
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  const at::Tensor loaded = at::zeros_like(leaf).set_requires_grad(true);
  const at::Tensor loaded_flat = at::zeros({5, 4}).t();  // not contiguous
  std::vector<ShardedTensor> wanted = pieces(loaded.detach());
  wanted.push_back({.name = "flat",
                    .global_shape = {4, 5},
                    .box = Box::Whole({4, 5}),
                    .tensor = loaded_flat});
  const absl::Status load = LoadTensors(StepFolder(1), *manifest, wanted);
  ASSERT_TRUE(load.ok()) << load;
  EXPECT_TRUE(at::equal(loaded, leaf));
  EXPECT_TRUE(at::equal(loaded_flat, flat));
}

TEST_F(CheckpointTest, ReplicasShareTheWritingAndNothingIsWrittenTwice) {
  std::vector<ShardedTensor> tensors;
  for (int i = 0; i < 32; ++i) {
    tensors.push_back(ShardOf({absl::StrCat("t", i), at::full({1000}, 1.0 * i)},
                              {world_->size(), 1}, world_->rank()));
  }
  ASSERT_TRUE(Save(1, tensors).ok());
  const absl::StatusOr<Manifest> manifest = ReadManifest(StepFolder(1));
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  ASSERT_EQ(manifest->files_size(), world_->size());
  int64_t total = 0;
  for (const ShardFile& file : manifest->files()) {
    EXPECT_GT(file.bytes(), 2 * 4000) << file.name();
    total += file.bytes();
  }
  EXPECT_LT(total, 32 * 4000 + 32 * 100 + 200 * world_->size());
}

TEST_F(CheckpointTest, ReadsAtMostFivePercentMoreThanItNeeds) {
  // Blocks of a MiB would cut the shards of any layout in the middle.
  const std::vector<WholeTensor> model = {{"rows", at::rand({1536, 512}), 0},
                                          {"columns", at::rand({512, 1536}), 1},
                                          {"replicated", at::rand({256, 256})}};
  // The same numbers on all ranks.
  for (const WholeTensor& whole : model) world_->Broadcast(whole.values, 0);
  const MeshLayout saved = Layouts(world_->size()).back();
  ASSERT_TRUE(Save(1, ShardsOf(model, saved, world_->rank())).ok());
  const absl::StatusOr<Manifest> manifest = ReadManifest(StepFolder(1));
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  for (const MeshLayout layout : {MeshLayout{1, 1}, {4, 1}, {2, 2}, {1, 4}}) {
    const std::vector<ShardedTensor> wanted = EmptyShards(model, layout, 0);
    int64_t bytes_needed = 0;
    for (const ShardedTensor& shard : wanted) {
      bytes_needed += static_cast<int64_t>(shard.tensor.nbytes());
    }
    int64_t bytes_read = 0;
    ASSERT_TRUE(
        LoadTensors(StepFolder(1), *manifest, wanted, &bytes_read).ok());
    EXPECT_GE(bytes_read, bytes_needed);
    EXPECT_LE(bytes_read, 1.05 * bytes_needed)
        << layout.data << " x " << layout.tensor;
  }
}

TEST_F(CheckpointTest, KeepsTheNewestThatWereReadBack) {
  const auto shards = ShardsOf(Model(), {world_->size(), 1}, world_->rank());
  CheckpointSaver saver(*world_,
                        {.run_folder = run_folder_,
                         .origin = {},
                         .retention = {.keep_last = 2, .keep_every = 20},
                         .max_tensor = kMaxTensor},
                        shards);
  for (const int64_t step : {10, 20, 30, 40, 50}) {
    TrainingState state;
    state.set_step(step);
    state.set_tokens_seen(step * 1000);
    saver.Start(state, shards);
  }
  saver.Finish();
  EXPECT_EQ(saver.TakeOutcomes().size(), 5u);
  EXPECT_THAT(
      NamesInRunFolder(),
      ElementsAre("latest", "step-00000020", "step-00000040", "step-00000050"));
  ExpectLoads(20, {1, 1}, 0);
  std::string latest;
  std::ifstream(run_folder_ + "/latest") >> latest;
  EXPECT_EQ(latest, "50");
  // Another saver, of a later start, knows what this one has read back.
  ASSERT_TRUE(Save(60, shards).ok());
  EXPECT_THAT(NamesInRunFolder(),
              ElementsAre("latest", "step-00000050", "step-00000060"));
}

TEST_F(CheckpointTest, KeepsTheNewestFromBeforeAStreakOfSkippedSteps) {
  const auto shards = ShardsOf(Model(), {world_->size(), 1}, world_->rank());
  CheckpointSaver saver(*world_,
                        {.run_folder = run_folder_,
                         .origin = {},
                         .retention = {.keep_last = 2, .keep_every = 0},
                         .max_tensor = kMaxTensor},
                        shards);
  // Step 21 is the first that is skipped.
  for (const int64_t step : {10, 20, 30, 40, 50}) {
    TrainingState state;
    state.set_step(step);
    state.set_skipped_in_a_row(std::max<int64_t>(0, step - 20));
    saver.Start(state, shards);
  }
  saver.Finish();
  EXPECT_THAT(
      NamesInRunFolder(),
      ElementsAre("latest", "step-00000020", "step-00000040", "step-00000050"));
}

TEST_F(CheckpointTest, KilledSaveIsNotListedAndGoesWithTheLeftovers) {
  const auto shards = ShardsOf(Model(), {world_->size(), 1}, world_->rank());
  ASSERT_TRUE(Save(10, shards).ok());
  if (IsRankZero()) {
    // Killed before the rename, and in the middle of a deletion.
    fs::copy(StepFolder(10), SaveFolder(run_folder_, 20, std::string(32, '7')),
             fs::copy_options::recursive);
    fs::create_directory(run_folder_ + "/.trash-step-00000005");
  }
  world_->Barrier();
  const auto folders = ListCheckpoints(run_folder_);
  ASSERT_TRUE(folders.ok());
  EXPECT_THAT(*folders, ElementsAre(StepFolder(10)));
  ASSERT_TRUE(Save(20, shards).ok());
  if (IsRankZero()) {
    EXPECT_EQ(RemoveLeftovers(run_folder_), absl::OkStatus());
  }
  EXPECT_THAT(NamesInRunFolder(),
              ElementsAre("latest", "step-00000010", "step-00000020"));
}

class FailedSaveTest : public CheckpointTest {
 protected:
  FailedSaveTest()
      : shards_(ShardsOf(Model(), {world_->size(), 1}, world_->rank())) {
    EXPECT_TRUE(Save(10, shards_).ok());
  }

  // The one error of all ranks; what was there before is there still.
  std::string ErrorOfAll(const absl::Status& status, ExitCode code) {
    EXPECT_EQ(ExitCodeOf(status), code) << status;
    const std::string message(status.message());
    EXPECT_EQ(BroadcastText(*world_, message, 0), message);
    EXPECT_THAT(NamesInRunFolder(), ElementsAre("latest", "step-00000010"));
    ExpectLoads(10, {1, 1}, 0);
    return message;
  }

  std::vector<ShardedTensor> shards_;
};

TEST_F(FailedSaveTest, StepThatExistsIsNotReplaced) {
  EXPECT_THAT(ErrorOfAll(Save(10, shards_), ExitCode::kCheckpoint),
              HasSubstr("step-00000010: already exists"));
}

TEST_F(FailedSaveTest, FullDiskOfOneRankFailsTheSaveOnAll) {
  // The last rank may write no file beyond 100 bytes: EFBIG.
  const int last = world_->size() - 1;
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  auto* handler = signal(SIGXFSZ, SIG_IGN);
  if (world_->rank() == last) {
    const rlimit small = {100, before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  }
  const absl::Status status = Save(20, shards_);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, handler);
  EXPECT_THAT(ErrorOfAll(status, ExitCode::kStorage),
              AllOf(HasSubstr(absl::StrFormat("shard-%05d", last)),
                    HasSubstr("File too large")));
}

TEST_F(FailedSaveTest, BoxThatNoRankWritesFailsTheSave) {
  shards_[3].num_replicas = 1;
  shards_[3].replica = 1;
  EXPECT_THAT(ErrorOfAll(Save(20, shards_), ExitCode::kCheckpoint),
              HasSubstr("tensor 'replicated': its boxes cover 0 of the 5"));
}

TEST_F(FailedSaveTest, RanksThatDisagreeAboutATensorFailTheSave) {
  if (world_->size() == 1) GTEST_SKIP() << "needs two ranks";
  if (world_->rank() == 1) shards_[3].global_shape = {6};
  EXPECT_THAT(ErrorOfAll(Save(20, shards_), ExitCode::kCheckpoint),
              HasSubstr("'replicated' is F32 [5] on one rank and F32 [6]"));
}

TEST_F(FailedSaveTest, RunFolderThatIsAFileIsAnErrorOnAllRanks) {
  const std::string run_folder =
      std::exchange(run_folder_, run_folder_ + "/latest");
  const absl::Status status = Save(20, shards_);
  run_folder_ = run_folder;
  EXPECT_THAT(ErrorOfAll(status, ExitCode::kStorage), HasSubstr("latest"));
}

class LoadErrorTest : public CheckpointTest {
 protected:
  LoadErrorTest() {
    EXPECT_TRUE(
        Save(10, ShardsOf(Model(), {world_->size(), 1}, world_->rank())).ok());
    const absl::StatusOr<Manifest> manifest = ReadManifest(StepFolder(10));
    EXPECT_TRUE(manifest.ok()) << manifest.status();
    manifest_ = *manifest;
  }

  std::string ErrorOf(const ShardedTensor& wanted) {
    const absl::Status status =
        LoadTensors(StepFolder(10), manifest_, {wanted});
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(StepFolder(10)));
    return std::string(status.message());
  }

  Manifest manifest_;
};

TEST_F(LoadErrorTest, NamesBothSidesOfAMismatch) {
  ShardedTensor wanted = EmptyShards(Model(), {1, 1}, 0)[0];
  wanted.name = "row";
  EXPECT_THAT(ErrorOf(wanted),
              HasSubstr("no tensor 'row' (expected: F32 [8, 6])"));
  wanted.name = "columns";
  EXPECT_THAT(ErrorOf(wanted),
              HasSubstr("'columns' is F32 [6, 8], expected F32 [8, 6]"));
  wanted.name = "rows";
  wanted.tensor = wanted.tensor.to(at::kDouble);
  EXPECT_THAT(ErrorOf(wanted),
              HasSubstr("'rows' is F32 [8, 6], expected F64 [8, 6]"));
}

TEST_F(LoadErrorTest, BoxBeyondTheTensorIsTheCallersMistake) {
  ShardedTensor wanted = EmptyShards(Model(), {1, 1}, 0)[0];
  wanted.box.offset[0] = 1;
  EXPECT_THROW((void)LoadTensors(StepFolder(10), manifest_, {wanted}),
               c10::Error);
}

TEST_F(LoadErrorTest, ShardOfAnotherSaveIsRefused) {
  ASSERT_TRUE(
      Save(20, ShardsOf(Model(), {world_->size(), 1}, world_->rank())).ok());
  world_->Barrier();
  if (IsRankZero()) {
    for (const ShardFile& file : manifest_.files()) {
      fs::copy_file(StepFolder(20) + "/" + file.name(),
                    StepFolder(10) + "/" + file.name(),
                    fs::copy_options::overwrite_existing);
    }
  }
  world_->Barrier();
  EXPECT_THAT(ErrorOf(EmptyShards(Model(), {1, 1}, 0)[0]),
              HasSubstr("or from another save"));
}

TEST_F(LoadErrorTest, NoByteOfADamagedBlockReachesATensor) {
  // One byte at the end of each shard, in the bytes of some tensor.
  world_->Barrier();
  if (IsRankZero()) {
    for (const ShardFile& file : manifest_.files()) {
      std::fstream shard(StepFolder(10) + "/" + file.name(),
                         std::ios::in | std::ios::out | std::ios::binary);
      shard.seekg(-1, std::ios::end);
      const char byte = static_cast<char>(shard.peek() ^ 0x10);
      shard.seekp(-1, std::ios::end);
      shard.put(byte);
    }
  }
  world_->Barrier();
  int num_damaged = 0;
  for (const ShardedTensor& wanted : EmptyShards(Model(), {1, 1}, 0)) {
    const absl::Status status =
        LoadTensors(StepFolder(10), manifest_, {wanted});
    if (status.ok()) continue;
    ++num_damaged;
    EXPECT_TRUE(IsDamaged(status)) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("tensor '" + wanted.name + "'"),
                      HasSubstr("expected ")));
  }
  EXPECT_GE(num_damaged, 1);
  EXPECT_LE(num_damaged, world_->size());
}

TEST_F(LoadErrorTest, DamagedShardHeaderIsRefused) {
  world_->Barrier();
  if (IsRankZero()) {
    for (const ShardFile& file : manifest_.files()) {
      std::fstream shard(StepFolder(10) + "/" + file.name(),
                         std::ios::in | std::ios::out | std::ios::binary);
      shard.put('\x01');
    }
  }
  world_->Barrier();
  EXPECT_THAT(ErrorOf(EmptyShards(Model(), {1, 1}, 0)[0]), HasSubstr("shard-"));
}

}  // namespace
}  // namespace lextra

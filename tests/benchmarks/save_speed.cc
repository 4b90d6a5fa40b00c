// What saving costs concurrent training, for one rank and tensors with the
// shapes of a real model. Contenders take turns; a line has the median, minimum
// and maximum over the rounds:
//
//   copy_ms, stall_ms     a plain parallel copy of the same bytes between warm
//                         buffers, and how long a save holds up its caller
//   stall_ratio           their quotient in the same round
//   write_mb_s            bytes of the shard over the time to write and sync it
//   save_ms               from the start to the commit, nothing else running
//   checksum_percent      of save_ms: processor time of writing the bytes with
//                         checksums, less that of writing them without
//   longer_percent        by which checksums lengthen writing and syncing
//   read_back_mb_s        reading back from the device, with checksums
//   step_ms               a step's matrix products, no save running
//   step_ratio_write      the mean step while the shard is written, over that
//   step_ratio_read_back  and while it is read back
//   concurrent_write_ms   the write while steps run
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>

#include "base/hash/crc32c.h"
#include "base/io/files.h"
#include "base/io/open_files.h"
#include "base/log.h"
#include "checkpoint/checkpoint_saver.h"
#include "tests/benchmarks/benchmark_program.h"

namespace lextra {
namespace {

constexpr int64_t kWidth = 768, kForward = 3072, kMaxVocabulary = 50304;
constexpr int kMaxTensor = 12;
constexpr int64_t kTokens = 256;  // of a step
constexpr int64_t kSettleSteps = 3;

struct Options {
  int64_t megabytes = 256, threads = 2, rounds = 9, steps = 20;
  std::string folder = ".";
};

double MillisecondsOf(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now() - begin)
      .count();
}

// Of this thread's processor time.
double ThreadMilliseconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 +
         static_cast<double>(time.tv_nsec) * 1e-6;
}

// As many layers as fit next to an embedding of at most 40 %; the rest goes to
// the embedding.
std::vector<ShardedTensor> ModelOf(int64_t num_bytes) {
  std::vector<ShardedTensor> tensors;
  int64_t num_left = num_bytes / static_cast<int64_t>(sizeof(float));
  const auto add = [&](const std::string& name, std::vector<int64_t> shape,
                       int split_dim) {
    const at::Tensor values = at::randn(shape);
    num_left -= values.numel();
    tensors.push_back({.name = name,
                       .global_shape = shape,
                       .split_dim = split_dim,
                       .box = Box::Whole(shape),
                       .tensor = values});
  };
  const int64_t num_embedded =
      std::min(num_left * 2 / 5, kMaxVocabulary * kWidth);
  for (int layer = 0; num_left - num_embedded >= 12 * kWidth * kWidth;
       ++layer) {
    const std::string prefix = absl::StrFormat("layers.%d.", layer);
    for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
      add(prefix + name + ".weight", {kWidth, kWidth}, 0);
      add(prefix + name + ".bias", {kWidth}, 0);
    }
    add(prefix + "out_proj.weight", {kWidth, kWidth}, 1);
    add(prefix + "out_proj.bias", {kWidth}, -1);
    add(prefix + "ffn.fc1.weight", {kForward, kWidth}, 0);
    add(prefix + "ffn.fc1.bias", {kForward}, 0);
    add(prefix + "ffn.fc2.weight", {kWidth, kForward}, 1);
    add(prefix + "ffn.fc2.bias", {kWidth}, -1);
    for (const char* name : {"attention_norm", "ffn_norm"}) {
      add(prefix + name + ".weight", {kWidth}, -1);
      add(prefix + name + ".bias", {kWidth}, -1);
    }
  }
  const int64_t num_rows = num_left / kWidth / kMaxTensor * kMaxTensor;
  add("embed_tokens.weight", {num_rows, kWidth}, 0);
  return tensors;
}

// The products of a feed-forward layer, forward and backward.
class Step {
 public:
  void Run() {
    const at::Tensor hidden = at::mm(x_, fc1_);
    const at::Tensor grad_fc2 = at::mm(hidden.t(), x_);
    const at::Tensor grad_hidden = at::mm(at::mm(hidden, fc2_), fc1_);
    const at::Tensor grad_fc1 = at::mm(x_.t(), grad_hidden);
  }

 private:
  at::Tensor x_ = at::randn({kTokens, kWidth});
  at::Tensor fc1_ = at::randn({kWidth, kForward});
  at::Tensor fc2_ = at::randn({kForward, kWidth});
};

class SaveSpeed {
 public:
  SaveSpeed(const Options& options, Communicator& world,
            const std::string& run_folder)
      : options_(options),
        run_folder_(run_folder),
        tensors_(ModelOf(options.megabytes * 1'000'000)),
        saver_(world,
               {.run_folder = run_folder,
                .origin = {.run_id = "save_speed", .program = "save_speed"},
                .retention = {},
                .max_tensor = kMaxTensor},
               tensors_) {
    for (const ShardedTensor& tensor : tensors_) {
      num_bytes_ += static_cast<int64_t>(tensor.tensor.nbytes());
    }
    const int64_t count = num_bytes_ / static_cast<int64_t>(sizeof(float));
    from_ = at::randn({count});
    to_ = at::ones({count});
  }

  absl::Status Run() {
    for (int64_t round = -1; round < options_.rounds; ++round) {
      TimeSave(/*copy_first=*/round % 2 == 0);
      TimeSteps();
      for (const SaveOutcome& outcome : saver_.TakeOutcomes()) {
        LEXTRA_RETURN_IF_ERROR(outcome.status);
      }
      if (round < 0) figures_.clear();  // a warm-up
    }
    PrintResult(absl::StrFormat("%d tensors, %d bytes, %d threads\n",
                                tensors_.size(), num_bytes_, options_.threads));
    for (auto& [name, values] : figures_) {
      std::sort(values.begin(), values.end());
      PrintResult(absl::StrFormat("%-20s %9.3f %9.3f %9.3f\n", name,
                                  values[values.size() / 2], values.front(),
                                  values.back()));
    }
    return absl::OkStatus();
  }

 private:
  void Record(const std::string& name, double value) {
    figures_[name].push_back(value);
  }

  void Start() {
    TrainingState state;
    state.set_step(++step_);
    saver_.Start(state, tensors_);
  }

  // A save by itself, stage by stage.
  void TimeSave(bool copy_first) {
    double copy_ms = 0;
    const auto copy = [&] {
      copy_ms = MillisecondsOf([&] { to_.copy_(from_); });
    };
    if (copy_first) copy();
    const double save_ms = MillisecondsOf([&] {
      Start();
      saver_.Advance();  // written
      saver_.Advance();  // committed
    });
    const double read_back_ms = MillisecondsOf([&] { saver_.Advance(); });
    saver_.Finish();
    if (!copy_first) copy();
    const SaveOutcome outcome = saver_.TakeOutcomes().at(0);
    const WriteCost with = CostOfWrite(/*with_checksums=*/true);
    const WriteCost without = CostOfWrite(/*with_checksums=*/false);
    Record("copy_ms", copy_ms);
    Record("stall_ms", outcome.stall_seconds * 1e3);
    Record("stall_ratio", outcome.stall_seconds * 1e3 / copy_ms);
    Record("write_mb_s", num_bytes_ * 1e-6 / outcome.write_seconds);
    Record("save_ms", save_ms);
    Record("checksum_percent",
           100 * (with.processor_ms - without.processor_ms) / save_ms);
    Record("longer_percent", 100 * (with.total_ms / without.total_ms - 1));
    Record("read_back_mb_s", num_bytes_ * 1e-3 / read_back_ms);
  }

  struct WriteCost {
    double processor_ms = 0;  // of writing alone: syncing waits
    double total_ms = 0;      // until the bytes are durable
  };

  // The loop of WriteShard. A block's checksum leaves the block in the cache
  // for the write, so its cost is no more than the difference of two such
  // loops.
  WriteCost CostOfWrite(bool with_checksums) {
    const std::string path = run_folder_ + "/written";
    WriteCost cost;
    cost.total_ms = MillisecondsOf([&] {
      FileWriter writer = FileWriter::Create(path).value();
      std::span<const std::byte> bytes(
          static_cast<const std::byte*>(from_.const_data_ptr()), num_bytes_);
      const double begin = ThreadMilliseconds();
      while (!bytes.empty()) {
        const auto block =
            bytes.first(std::min<size_t>(bytes.size(), kBlockBytes));
        if (with_checksums) checksum_ = Crc32c(block);
        TORCH_CHECK(writer.Write(block).ok());
        bytes = bytes.subspan(block.size());
      }
      cost.processor_ms = ThreadMilliseconds() - begin;
      TORCH_CHECK(writer.Close().ok());
    });
    TORCH_CHECK(RemoveTree(path).ok());
    return cost;
  }

  // Steps without and with a concurrent save.
  void TimeSteps() {
    for (int64_t i = 0; i < kSettleSteps; ++i) compute_.Run();
    const double step_ms = MillisecondsOf([&] {
                             for (int64_t i = 0; i < options_.steps; ++i) {
                               compute_.Run();
                             }
                           }) /
                           static_cast<double>(options_.steps);
    Start();
    double write_ms = 0;
    const double write_step_ms = MeanStepDuringStage(&write_ms);
    saver_.Advance();
    saver_.Advance();
    double read_back_ms = 0;
    const double read_back_step_ms = MeanStepDuringStage(&read_back_ms);
    saver_.Finish();
    Record("step_ms", step_ms);
    Record("step_ratio_write", write_step_ms / step_ms);
    Record("step_ratio_read_back", read_back_step_ms / step_ms);
    Record("concurrent_write_ms", write_ms);
  }

  double MeanStepDuringStage(double* stage_ms) {
    int64_t num_steps = 0;
    *stage_ms = MillisecondsOf([&] {
      do {
        compute_.Run();
        ++num_steps;
      } while (!saver_.StageIsDone());
    });
    return *stage_ms / static_cast<double>(num_steps);
  }

  Options options_;
  std::string run_folder_;
  std::vector<ShardedTensor> tensors_;
  CheckpointSaver saver_;
  Step compute_;
  int64_t num_bytes_ = 0;
  int64_t step_ = 0;
  at::Tensor from_, to_;
  volatile uint32_t checksum_ = 0;  // so that no compiler leaves out the work
  std::map<std::string, std::vector<double>> figures_;
};

absl::Status Run(const Options& options, MpiSession& mpi) {
  at::set_num_threads(static_cast<int>(options.threads));
  const std::unique_ptr<Communicator> world = mpi.World();
  const std::string run_folder = (std::filesystem::path(options.folder) /
                                  absl::StrFormat("save_speed.%d", getpid()))
                                     .string();
  const absl::Status status = SaveSpeed(options, *world, run_folder).Run();
  LEXTRA_RETURN_IF_ERROR(RemoveTree(run_folder));
  return status;
}

}  // namespace
}  // namespace lextra

int main(int argc, char** argv) {
  lextra::Options options;
  lextra::CommandLine line("_save_speed", "Times saving during training.");
  line.AddFlag("megabytes", &options.megabytes, "10^6 bytes of tensors");
  line.AddFlag("threads", &options.threads, "of the rank");
  line.AddFlag("rounds", &options.rounds, "timed, after a warm-up");
  line.AddFlag("steps", &options.steps, "timed without a save in a round");
  line.AddFlag("folder", &options.folder, "on the file system to be timed");
  return lextra::BenchmarkMain(argc, argv, line, [&](lextra::MpiSession& mpi) {
    return lextra::Run(options, mpi);
  });
}

// The training loop, the file to read first: every step reads its batch from
// the schedule, runs, is recorded, and now and then is validated and saved.
#ifndef LEXTRA_TRAINER_TRAINER_H_
#define LEXTRA_TRAINER_TRAINER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "checkpoint/sharded_checkpoint.h"
#include "config/run.pb.h"
#include "data/batch_schedule.h"
#include "data/packed_samples.h"
#include "data/token_dataset.h"
#include "model/transformer.h"
#include "parallel/device_mesh.h"
#include "trainer/metrics.h"
#include "trainer/train_step.h"

namespace lextra {

// How a run treats checkpoints that are in its folder already.
enum class ResumeMode {
  kAuto,  // continue from the newest, or start anew if there is none
  kMust,  // continue from the newest; none is an error
  kNone,  // start anew; any is an error
};

class Trainer {
 public:
  // Opens the data, builds the model and, where there is a checkpoint, loads
  // it. `config` is resolved with vocab_size set. Collective; the status is the
  // same on all ranks.
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(
      const RunConfig& config, const std::string& run_folder, ResumeMode resume,
      DeviceMesh& mesh);

  // Trains until `last_step` steps are done (schedule.num_steps at most), and
  // saves. Collective, as above.
  absl::Status Run(int64_t last_step);

 private:
  Trainer(const RunConfig& config, std::string run_folder, DeviceMesh& mesh);

  absl::Status OpenData();
  absl::Status Resume(ResumeMode mode);
  absl::Status LoadState(const std::string& step_folder);
  absl::StatusOr<at::Tensor> ReadSamples(const PackedSamples& samples,
                                         const std::vector<int64_t>& wanted);
  absl::Status Step();
  absl::Status Validate();
  absl::Status Save();

  RunConfig config_;
  std::string run_folder_;
  DeviceMesh& mesh_;
  std::optional<TokenDataset> train_data_;
  std::optional<TokenDataset> validation_data_;
  std::optional<PackedSamples> train_samples_;
  std::optional<PackedSamples> validation_samples_;
  std::optional<BatchSchedule> schedule_;
  Transformer model_;
  TrainStep step_;
  std::optional<Metrics> metrics_;  // rank 0
  TrainingState state_;
  int64_t last_saved_step_ = -1;
  int64_t skipped_in_a_row_ = 0;
};

}  // namespace lextra

#endif  // LEXTRA_TRAINER_TRAINER_H_

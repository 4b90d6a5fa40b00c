// One optimizer step: micro batches forward and backward, gradients summed over
// the data axis, their global norm, and - if all ranks agree that loss and norm
// are finite - the clipped update. A non-finite step changes nothing. All of
// this is enqueued on the device's streams without waiting, unless spikes are
// skipped: the host decides that, so it waits for the result.
//
// Legend: B samples of this rank, T training length.
#ifndef LEXTRA_TRAINER_TRAIN_STEP_H_
#define LEXTRA_TRAINER_TRAIN_STEP_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "config/run.pb.h"
#include "model/attention/attention.h"
#include "model/transformer.h"
#include "parallel/data_parallel/flat_parameters.h"
#include "parallel/data_parallel/gradient_reducer.h"
#include "parallel/data_parallel/parameter_gatherer.h"
#include "parallel/device_mesh.h"
#include "trainer/optimizer/optimizer.h"
#include "trainer/spike_detector.h"

namespace lextra {

struct StepResult {
  double loss = 0;  // mean over the global batch, nats per token
  double gradient_norm = 0;
  // Sum of the samples' CRC-32C over the global batch: tells whether two runs
  // saw the same tokens, independent of layout.
  int64_t batch_hash = 0;
  // How far loss or gradient norm rose above recent ones (spike_detector.h).
  double z_score = 0;
  bool skipped = false;     // no update, because
  bool not_finite = false;  // loss or norm was not finite; otherwise a spike
};

class TrainStep {
 public:
  // `config` is resolved. All arguments outlive this.
  TrainStep(const RunConfig& config, DeviceMesh& mesh, Transformer& model);
  TrainStep(const TrainStep&) = delete;
  ~TrainStep() { model_.set_before_use(nullptr); }

  // tokens int64 [B, T + 1], this rank's share of the global batch. The result
  // is the same on all ranks.
  StepResult Run(const at::Tensor& tokens_BT1, double learning_rate);

  // The NLL of each sample of int64 [B, T + 1], summed over its T targets: fp64
  // [B] on the host, no gradient. Collective over the tensor axis.
  at::Tensor SampleNll(const at::Tensor& tokens_BT1);

  // What a checkpoint holds: parameters (masters, if there are any) and
  // optimizer state of this rank.
  std::vector<ShardedTensor> State();
  // Call after State() has been filled from a checkpoint. Collective.
  void FinishLoading(int64_t num_updates);
  // With the values after the last step.
  const FlatParameters& parameters();
  const Optimizer& optimizer() const { return *optimizer_; }
  SpikeDetector& spikes() { return spikes_; }

 private:
  double HashOf(const at::Tensor& tokens_BT1) const;
  at::Tensor Loss(const at::Tensor& tokens_BT1, double scale);
  // The global batch's loss and hash, fp64 [2]; leaves the summed gradients.
  at::Tensor ForwardAndBackward(const at::Tensor& tokens_BT1);
  // fp32 [1]: 1 if any rank has a non-finite loss or norm.
  at::Tensor NotFinite(const at::Tensor& loss, const at::Tensor& norm);

  const RunConfig& config_;
  DeviceMesh& mesh_;
  Transformer& model_;
  std::unique_ptr<PositionEncoding> positions_;
  CausalAttention attention_;
  FlatParameters parameters_;
  GradientReducer reducer_;
  ParameterGatherer gatherer_;
  std::unique_ptr<Optimizer> optimizer_;
  SpikeDetector spikes_;
};

}  // namespace lextra

#endif  // LEXTRA_TRAINER_TRAIN_STEP_H_

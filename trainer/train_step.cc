#include "trainer/train_step.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>

#include "base/crc32c.h"
#include "trainer/gradient_norm.h"

namespace lextra {

TrainStep::TrainStep(const RunConfig& config, DeviceMesh& mesh,
                     Transformer& model)
    : config_(config),
      mesh_(mesh),
      model_(model),
      positions_(MakePositionEncoding(config.model(),
                                      config.model().training_length() / 2)),
      attention_(*positions_, model.num_kv_heads()),
      parameters_(model.parameters()),
      reducer_(parameters_, mesh.data(), config.parallel().bucket_bytes()),
      optimizer_(parameters_, config.optimizer()),
      spikes_(config.optimizer().skip_z_score()) {}

double TrainStep::HashOf(const at::Tensor& tokens_BT1) const {
  const size_t sample_bytes = tokens_BT1.size(1) * tokens_BT1.element_size();
  const auto* bytes =
      static_cast<const std::byte*>(tokens_BT1.const_data_ptr());
  double sum = 0;
  for (int64_t sample = 0; sample < tokens_BT1.size(0); ++sample) {
    sum += Crc32c(std::span(bytes + sample * sample_bytes, sample_bytes));
  }
  return sum;
}

at::Tensor TrainStep::Loss(const at::Tensor& tokens_BT1, double scale) {
  const int64_t length = tokens_BT1.size(1) - 1;
  const at::Tensor inputs_BT = tokens_BT1.narrow(1, 0, length);
  const at::Tensor targets_BT = tokens_BT1.narrow(1, 1, length);
  const at::Tensor hidden_BTC = model_(inputs_BT, attention_);
  return model_.cross_entropy().Loss(hidden_BTC.flatten(0, 1),
                                     targets_BT.reshape(-1), scale);
}

StepResult TrainStep::Run(const at::Tensor& tokens_BT1, double learning_rate) {
  const int64_t num_samples = tokens_BT1.size(0);
  const int64_t micro_batch =
      config_.data().micro_batch() > 0
          ? std::min<int64_t>(config_.data().micro_batch(), num_samples)
          : num_samples;
  const double scale =
      1.0 / (static_cast<double>(config_.data().global_batch()) *
             config_.model().training_length());
  parameters_.ZeroGradients();
  // Exact in fp64: sums of 32-bit numbers.
  const at::Tensor loss_and_hash = at::zeros({2}, at::kDouble);
  loss_and_hash[1] = HashOf(tokens_BT1);
  for (int64_t begin = 0; begin < num_samples; begin += micro_batch) {
    if (begin + micro_batch >= num_samples) reducer_.Start();
    const at::Tensor part = Loss(
        tokens_BT1.narrow(0, begin, std::min(micro_batch, num_samples - begin)),
        scale);
    part.backward();
    loss_and_hash[0] += part.detach();
  }
  reducer_.Finish();
  mesh_.data().AllReduce(loss_and_hash, ReduceOp::kSum);

  StepResult result;
  result.loss = loss_and_hash[0].item<double>();
  result.batch_hash = loss_and_hash[1].item<int64_t>();
  result.gradient_norm = GlobalGradientNorm(parameters_, mesh_.tensor());
  at::Tensor finite = at::ones({1}, at::kLong);
  if (!std::isfinite(result.loss) || !std::isfinite(result.gradient_norm)) {
    finite.zero_();
  }
  mesh_.world().AllReduce(finite, ReduceOp::kMin);
  result.not_finite = finite.item<int64_t>() == 0;
  result.z_score = spikes_.ZScore(result.loss, result.gradient_norm);
  result.skipped =
      result.not_finite || spikes_.IsSpike(result.loss, result.gradient_norm);
  spikes_.Add(result.loss, result.gradient_norm);
  if (result.skipped) return result;

  const double bound = config_.optimizer().clip_norm();
  const bool clipped = bound > 0 && result.gradient_norm > bound;
  optimizer_.Step(learning_rate, clipped ? bound / result.gradient_norm : 1.0);
  return result;
}

double TrainStep::EvaluateLoss(const at::Tensor& tokens_BT1) {
  const at::NoGradGuard no_grad;
  const double scale = 1.0 / (static_cast<double>(tokens_BT1.size(0)) *
                              (tokens_BT1.size(1) - 1));
  return Loss(tokens_BT1, scale).item<double>();
}

std::vector<ShardedTensor> TrainStep::State() {
  std::vector<ShardedTensor> state;
  for (const FlatParameters::Slot& slot : parameters_.slots()) {
    const auto append = [&](const at::Tensor& flat, const std::string& prefix) {
      for (ShardedTensor& shard : slot.parameter->Shards(
               flat.narrow(0, slot.begin, slot.size)
                   .view(slot.parameter->leaf.sizes()),
               prefix, mesh_.data().rank(), mesh_.data().size(),
               mesh_.tensor().rank(), mesh_.tensor().size())) {
        state.push_back(std::move(shard));
      }
    };
    append(parameters_.values(), "");
    append(optimizer_.exp_avg(), "optimizer.exp_avg.");
    append(optimizer_.exp_avg_sq(), "optimizer.exp_avg_sq.");
  }
  return state;
}

}  // namespace lextra

#include "trainer/train_step.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <optional>
#include <span>

#include "absl/strings/str_cat.h"
#include "base/hash/crc32c.h"
#include "base/io/system_calls.h"
#include "base/number_text.h"
#include "model/precision.h"
#include "ops/cuda_kernel.h"
#include "parallel/device_copy.h"
#include "parallel/tensor_parallel/conjugate_collectives.h"
#include "trainer/optimizer/gradient_norm.h"

namespace lextra {

namespace {

FlatParameters::Options OptionsFor(const RunConfig& config,
                                   const Communicator& data_axis) {
  FlatParameters::Options options;
  options.compute_type = ComputeType(config.model().precision());
  options.bucket_bytes = config.parallel().bucket_bytes();
  if (config.parallel().zero_stage() == 1) {
    options.owner = data_axis.rank();
    options.num_owners = data_axis.size();
  }
  return options;
}

// For tests on a GPU: an operation that makes the host wait inside a step
// throws.
bool HostSyncsAreForbidden() {
  return std::getenv("LEXTRA_FORBID_HOST_SYNC") != nullptr;
}

}  // namespace

TrainStep::TrainStep(const RunConfig& config, DeviceMesh& mesh,
                     Transformer& model)
    : config_(config),
      mesh_(mesh),
      model_(model),
      positions_(MakePositionEncoding(config.model(),
                                      config.model().training_length() / 2,
                                      &mesh.tensor())),
      attention_(*positions_, model.num_kv_heads()),
      parameters_(model.parameters(), OptionsFor(config, mesh.data())),
      reducer_(parameters_, mesh.data(), config.parallel().overlap_gradients()),
      gatherer_(parameters_, mesh.data()),
      optimizer_(MakeOptimizer(parameters_, config.optimizer())),
      spikes_(config.optimizer().spike_z_threshold()) {
  model.set_before_use([this](const std::vector<Parameter*>& parameters) {
    gatherer_.WaitFor(parameters);
  });
  model.set_recomputation(config.parallel().recompute());
  model.set_activation_layout(config.parallel().sequence_parallel()
                                  ? ActivationLayout::kSplit
                                  : ActivationLayout::kReplicated);
}

double TrainStep::HashOf(const at::Tensor& tokens_BT1) const {
  RECORD_USER_SCOPE("data: hash");
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
  // [B, T, C], or split by tokens.
  const at::Tensor hidden = model_(inputs_BT, attention_);
  return model_.cross_entropy().Loss(hidden.flatten(0, -2),
                                     targets_BT.reshape(-1), scale,
                                     model_.activation_layout());
}

at::Tensor TrainStep::ForwardAndBackward(const at::Tensor& tokens_BT1) {
  const int64_t num_samples = tokens_BT1.size(0);
  const int64_t micro_batch_size =
      config_.data().micro_batch_size() > 0
          ? std::min<int64_t>(config_.data().micro_batch_size(), num_samples)
          : num_samples;
  const double scale =
      1.0 / (static_cast<double>(config_.data().global_batch_size()) *
             config_.model().training_length());
  const at::Tensor tokens_on_device = CopyToDevice(tokens_BT1, mesh_.device());
  parameters_.ZeroGradients();
  // Exact in fp64: sums of 32-bit numbers.
  const at::Tensor loss_and_hash =
      at::zeros({2}, at::TensorOptions(at::kDouble).device(mesh_.device()));
  loss_and_hash[1].fill_(HashOf(tokens_BT1));
  for (int64_t begin = 0; begin < num_samples; begin += micro_batch_size) {
    if (begin + micro_batch_size >= num_samples) reducer_.Start();
    const at::Tensor part =
        Loss(tokens_on_device.narrow(
                 0, begin, std::min(micro_batch_size, num_samples - begin)),
             scale);
    part.backward();
    sys::KillPoint("micro_batch");
    mesh_.data().MarkWork();
    loss_and_hash[0] += part.detach();
  }
  reducer_.Finish();
  if (model_.activation_layout() == ActivationLayout::kSplit) {
    AllReduceSequenceParallelGradients(parameters_, mesh_.tensor());
  }
  mesh_.data().AllReduce(loss_and_hash, ReduceOp::kSum);
  return loss_and_hash;
}

at::Tensor TrainStep::NotFinite(const at::Tensor& loss,
                                const at::Tensor& norm) {
  const at::Tensor not_finite = at::isfinite(loss)
                                    .logical_and_(at::isfinite(norm))
                                    .logical_not_()
                                    .to(at::kFloat)
                                    .view({1});
  for (Communicator* axis : {&mesh_.tensor(), &mesh_.data()}) {
    axis->AllReduce(not_finite, ReduceOp::kMax);
  }
  return not_finite;
}

StepResult TrainStep::Run(const at::Tensor& tokens_BT1, double learning_rate) {
  std::optional<HostSyncsAreErrors> watched;
  if (HostSyncsAreForbidden()) watched.emplace(mesh_.device());

  const at::Tensor loss_and_hash = ForwardAndBackward(tokens_BT1);
  const at::Tensor loss = loss_and_hash[0];
  const at::Tensor norm =
      GlobalGradientNorm(parameters_, mesh_.data(), mesh_.tensor());
  const at::Tensor not_finite = NotFinite(loss, norm);

  StepResult result;
  const auto wait_for_result = [&] {
    watched.reset();
    const at::Tensor all =
        at::cat({loss_and_hash, norm.view({1}), not_finite.to(at::kDouble)})
            .cpu();
    const double* values = all.const_data_ptr<double>();
    result.loss = WithoutNanSign(values[0]);
    result.batch_hash = static_cast<int64_t>(values[1]);
    result.gradient_norm = WithoutNanSign(values[2]);
    result.not_finite = values[3] != 0;
    result.z_score = spikes_.ZScore(result.loss, result.gradient_norm);
    result.skipped =
        result.not_finite || spikes_.IsSpike(result.loss, result.gradient_norm);
    spikes_.Add(result.loss, result.gradient_norm);
  };
  at::Tensor skip = not_finite;
  const bool host_decides = config_.optimizer().spike_z_threshold() > 0;
  if (host_decides) {
    wait_for_result();
    skip = at::full_like(not_finite, result.skipped ? 1 : 0);
  }
  const double bound = config_.optimizer().max_grad_norm();
  const at::ScalarType full = parameters_.gradients().scalar_type();
  const at::Tensor divisor =
      bound > 0 ? (norm / bound).clamp_min_(1).to(full).view({1})
                : at::ones_like(not_finite, full);
  optimizer_->Step(learning_rate, divisor, skip);
  gatherer_.Start();
  if (!host_decides) wait_for_result();
  return result;
}

void TrainStep::FinishLoading(int64_t num_updates) {
  optimizer_->set_num_updates(num_updates);
  parameters_.RoundMasters();
  gatherer_.Start();
}

at::Tensor TrainStep::SampleNll(const at::Tensor& tokens_BT1) {
  const at::NoGradGuard no_grad;
  const int64_t length = tokens_BT1.size(1) - 1;
  const at::Tensor tokens = CopyToDevice(tokens_BT1, mesh_.device());
  at::Tensor hidden_NC =
      model_(tokens.narrow(1, 0, length), attention_).flatten(0, -2);
  if (model_.activation_layout() == ActivationLayout::kSplit) {
    hidden_NC = StartGather(hidden_NC, mesh_.tensor()).Wait();
  }
  const at::Tensor nll_N = model_.cross_entropy().Nll(
      hidden_NC, tokens.narrow(1, 1, length).reshape(-1));
  return nll_N.view({-1, length}).sum(1, /*keepdim=*/false, at::kDouble).cpu();
}

const FlatParameters& TrainStep::parameters() {
  gatherer_.Finish();
  return parameters_;
}

std::vector<ShardedTensor> TrainStep::State() {
  gatherer_.Finish();
  const bool is_split = parameters_.num_owners() > 1;
  const MeshPlace whole = {.data_rank = mesh_.data().rank(),
                           .num_data = mesh_.data().size(),
                           .tensor_rank = mesh_.tensor().rank(),
                           .num_tensor = mesh_.tensor().size()};
  const MeshPlace alone = {.tensor_rank = whole.tensor_rank,
                           .num_tensor = whole.num_tensor};
  std::vector<ShardedTensor> state;
  // The part of a slot that a piece holds, at `place` of `flat`.
  const auto append = [&](const FlatParameters::Slot& slot,
                          const at::Tensor& flat, int64_t begin, int64_t end,
                          int64_t place, const std::string& prefix) {
    for (ShardedTensor& shard : slot.parameter->SliceShards(
             flat.narrow(0, place, end - begin), begin - slot.begin,
             is_split ? alone : whole, prefix)) {
      state.push_back(std::move(shard));
    }
  };
  const std::vector<Optimizer::State> of_optimizer = optimizer_->state();
  for (const FlatParameters::Slot& slot : parameters_.slots()) {
    if (!parameters_.has_masters()) {
      for (ShardedTensor& shard :
           slot.parameter->Shards(slot.parameter->leaf, whole)) {
        state.push_back(std::move(shard));
      }
    }
    for (const FlatParameters::Piece& piece : parameters_.pieces()) {
      const int64_t begin = std::max(slot.begin, piece.begin);
      const int64_t end =
          std::min(slot.begin + slot.size, piece.begin + piece.size);
      if (begin >= end) continue;
      const int64_t offset = begin - piece.begin;
      if (parameters_.has_masters()) {
        append(slot, parameters_.Masters(piece), begin, end, offset, "");
      }
      for (const auto& [name, moments] : of_optimizer) {
        append(slot, moments, begin, end, piece.place + offset,
               absl::StrCat("optimizer.", name, "."));
      }
    }
  }
  return state;
}

}  // namespace lextra

#include "parallel/data_parallel/gradient_reducer.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <functional>
#include <vector>

namespace lextra {
namespace {

// Fires when autograd has added the last part of a leaf's gradient.
class ReadyHook : public torch::autograd::FunctionPostHook {
 public:
  explicit ReadyHook(std::function<void()> ready) : ready_(std::move(ready)) {}

  torch::autograd::variable_list operator()(
      const torch::autograd::variable_list& outputs,
      const torch::autograd::variable_list& /*inputs*/) override {
    ready_();
    return outputs;
  }

 private:
  std::function<void()> ready_;
};

}  // namespace

class GradientReducer::Impl {
 public:
  Impl(FlatParameters& parameters, Communicator& data_axis, bool overlap)
      : parameters_(parameters), data_axis_(data_axis) {
    TORCH_CHECK(parameters.num_owners() == 1 ||
                    parameters.num_owners() == data_axis.size(),
                "parameters of ", parameters.num_owners(), " owners, but ",
                data_axis.size(), " data ranks");
    if (data_axis.size() == 1) return;
    for (const FlatParameters::Bucket& bucket : parameters.buckets()) {
      Bucket& added = buckets_.emplace_back();
      added.range = bucket;
      added.num_slots = static_cast<int>(std::count_if(
          parameters.slots().begin(), parameters.slots().end(),
          [&](const auto& slot) { return Overlap(bucket, slot); }));
    }
    if (!overlap) return;
    for (size_t slot = 0; slot < parameters.slots().size(); ++slot) Watch(slot);
  }

  ~Impl() {
    for (const Watched& watched : watched_) {
      watched.accumulator->del_post_hook(watched.hook);
    }
  }

  void Start() {
    TORCH_CHECK(!started_, "GradientReducer: Start() without Finish()");
    started_ = true;
    num_launched_ = 0;
    ready_.assign(parameters_.slots().size(), false);
    for (Bucket& bucket : buckets_) bucket.num_missing = bucket.num_slots;
  }

  void Finish() {
    TORCH_CHECK(started_, "GradientReducer: Finish() without Start()");
    started_ = false;
    // Hooks of parameters that the loss does not depend on never fire.
    while (num_launched_ < buckets_.size()) Launch();
    for (Bucket& bucket : buckets_) bucket.pending.Wait();
  }

 private:
  struct Bucket {
    FlatParameters::Bucket range;
    int num_slots;  // parameters with a part in this bucket
    int num_missing = 0;
    PendingCollective pending;
  };
  struct Watched {
    // Kept alive: autograd holds the accumulator only while a graph lives.
    std::shared_ptr<torch::autograd::Node> accumulator;
    uintptr_t hook;
  };

  void Watch(size_t slot) {
    Watched& watched = watched_.emplace_back();
    watched.accumulator = torch::autograd::impl::grad_accumulator(
        parameters_.slots()[slot].parameter->leaf);
    watched.hook = watched.accumulator->add_post_hook(
        std::make_unique<ReadyHook>([this, slot] { OnReady(slot); }));
  }

  void OnReady(size_t slot) {
    if (!started_) return;
    TORCH_CHECK(!ready_[slot],
                "GradientReducer: a second backward pass after Start()");
    ready_[slot] = true;
    for (Bucket& bucket : buckets_) {
      if (Overlap(bucket.range, parameters_.slots()[slot])) {
        --bucket.num_missing;
      }
    }
    while (num_launched_ < buckets_.size() &&
           buckets_[num_launched_].num_missing == 0) {
      Launch();
    }
  }

  void Launch() {
    Bucket& bucket = buckets_[num_launched_++];
    const at::Tensor& gradients = parameters_.gradients();
    const at::Tensor whole =
        gradients.narrow(0, bucket.range.begin, bucket.range.size);
    bucket.pending = parameters_.num_owners() == 1
                         ? data_axis_.AllReduceAsync(whole, ReduceOp::kSum)
                         : data_axis_.ReduceScatterAsync(
                               parameters_.OwnPart(gradients, bucket.range),
                               whole, ReduceOp::kSum);
  }

  FlatParameters& parameters_;
  Communicator& data_axis_;
  std::vector<Bucket> buckets_;  // in reduction order
  std::vector<Watched> watched_;
  bool started_ = false;
  std::vector<bool> ready_;  // by slot
  size_t num_launched_ = 0;
};

GradientReducer::GradientReducer(FlatParameters& parameters,
                                 Communicator& data_axis, bool overlap)
    : impl_(std::make_unique<Impl>(parameters, data_axis, overlap)) {}

GradientReducer::~GradientReducer() = default;

void GradientReducer::Start() { impl_->Start(); }

void GradientReducer::Finish() { impl_->Finish(); }

void AllReduceSequenceParallelGradients(FlatParameters& parameters,
                                        Communicator& tensor_axis) {
  for (const FlatParameters::Run& run : parameters.OwnRuns()) {
    if (run.tensor_sharded) continue;
    tensor_axis.AllReduce(parameters.gradients().narrow(0, run.begin, run.size),
                          ReduceOp::kSum);
  }
}

}  // namespace lextra

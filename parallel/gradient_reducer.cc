#include "parallel/gradient_reducer.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <functional>
#include <vector>

namespace lextra {
namespace {

// Tells when autograd has added the last part of a leaf's gradient.
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

// Buckets are reduced in one order, the same on all ranks: from the back of the
// flat gradient, where the last layers are, whose gradients come first; but the
// undecayed tail after the matrices, because it holds the norms and biases of
// all layers and is complete only at the end.
class GradientReducer::Impl {
 public:
  Impl(FlatParameters& parameters, Communicator& data_axis,
       int64_t bucket_bytes)
      : parameters_(parameters), data_axis_(data_axis) {
    TORCH_CHECK(bucket_bytes > 0, "buckets of ", bucket_bytes, " bytes");
    if (data_axis.size() == 1) return;
    const int64_t bucket_size = std::max<int64_t>(
        1, bucket_bytes / parameters.gradients().element_size());
    CutBuckets(0, parameters.num_decayed(), bucket_size);
    CutBuckets(parameters.num_decayed(), parameters.gradients().numel(),
               bucket_size);
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
    // Parameters that the loss does not depend on announce nothing.
    while (num_launched_ < buckets_.size()) Launch();
    for (Bucket& bucket : buckets_) bucket.pending.Wait();
  }

 private:
  struct Bucket {
    int64_t begin;
    int64_t size;
    int num_slots;  // parameters with a part in this bucket
    int num_missing = 0;
    PendingCollective pending;
  };
  struct Watched {
    // Held: autograd itself keeps the accumulator only while a graph lives.
    std::shared_ptr<torch::autograd::Node> accumulator;
    uintptr_t hook;
  };

  static bool Overlap(const Bucket& bucket, const FlatParameters::Slot& slot) {
    return bucket.begin < slot.begin + slot.size &&
           slot.begin < bucket.begin + bucket.size;
  }

  // Cuts [begin, end) from its back.
  void CutBuckets(int64_t begin, int64_t end, int64_t bucket_size) {
    while (end > begin) {
      Bucket& bucket = buckets_.emplace_back();
      bucket.size = std::min(bucket_size, end - begin);
      bucket.begin = end - bucket.size;
      bucket.num_slots = static_cast<int>(std::count_if(
          parameters_.slots().begin(), parameters_.slots().end(),
          [&](const auto& slot) { return Overlap(bucket, slot); }));
      end = bucket.begin;
    }
  }

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
      if (Overlap(bucket, parameters_.slots()[slot])) --bucket.num_missing;
    }
    while (num_launched_ < buckets_.size() &&
           buckets_[num_launched_].num_missing == 0) {
      Launch();
    }
  }

  void Launch() {
    Bucket& bucket = buckets_[num_launched_++];
    bucket.pending = data_axis_.AllReduceAsync(
        parameters_.gradients().narrow(0, bucket.begin, bucket.size),
        ReduceOp::kSum);
  }

  FlatParameters& parameters_;
  Communicator& data_axis_;
  std::vector<Bucket> buckets_;  // in the order of their reduction
  std::vector<Watched> watched_;
  bool started_ = false;
  std::vector<bool> ready_;  // by slot
  size_t num_launched_ = 0;
};

GradientReducer::GradientReducer(FlatParameters& parameters,
                                 Communicator& data_axis, int64_t bucket_bytes)
    : impl_(std::make_unique<Impl>(parameters, data_axis, bucket_bytes)) {}

GradientReducer::~GradientReducer() = default;

void GradientReducer::Start() { impl_->Start(); }

void GradientReducer::Finish() { impl_->Finish(); }

}  // namespace lextra

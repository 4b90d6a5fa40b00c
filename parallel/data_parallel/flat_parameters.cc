#include "parallel/data_parallel/flat_parameters.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/math.h"

namespace lextra {
FlatParameters::FlatParameters(std::vector<Parameter*> parameters,
                               const Options& options)
    : options_(options) {
  TORCH_CHECK(!parameters.empty(), "a model without parameters");
  TORCH_CHECK(options.bucket_bytes > 0, "buckets of ", options.bucket_bytes,
              " bytes");
  const at::TensorOptions full =
      parameters[0]->leaf.options().requires_grad(false);
  for (const Parameter* parameter : parameters) {
    TORCH_CHECK(parameter->leaf.dtype() == full.dtype(),
                "parameters of two dtypes");
  }
  const int64_t bucket_size = RoundUp(
      std::max<int64_t>(1, options.bucket_bytes / full.dtype().itemsize()),
      options.num_owners);
  LayOut(parameters, /*weight_decay=*/true, bucket_size);
  LayOut(parameters, /*weight_decay=*/false, bucket_size);
  FindPieces();

  const at::ScalarType compute_type =
      options.compute_type.value_or(parameters[0]->leaf.scalar_type());
  const bool is_mixed = compute_type != parameters[0]->leaf.scalar_type();
  const at::Tensor initial = at::zeros({num_elements_}, full);
  for (const Slot& slot : slots_) {
    initial.narrow(0, slot.begin, slot.size)
        .copy_(slot.parameter->leaf.detach().view(-1));
  }
  values_ = initial.to(compute_type);
  gradients_ = at::zeros_like(initial);
  if (is_mixed) {
    masters_ = at::empty({num_owned_}, full);
    for (const Piece& piece : pieces_) {
      Masters(piece).copy_(initial.narrow(0, piece.begin, piece.size));
    }
  }
  for (const Slot& slot : slots_) {
    at::Tensor& leaf = slot.parameter->leaf;
    const std::vector<int64_t> shape = leaf.sizes().vec();
    leaf.set_data(values_.narrow(0, slot.begin, slot.size).view(shape));
    leaf.mutable_grad() =
        gradients_.narrow(0, slot.begin, slot.size).view(shape);
  }
}

void FlatParameters::LayOut(const std::vector<Parameter*>& parameters,
                            bool weight_decay, int64_t bucket_size) {
  const int64_t begin = num_elements_;
  for (const bool tensor_sharded : {true, false}) {
    for (Parameter* parameter : parameters) {
      if (parameter->weight_decay != weight_decay ||
          parameter->tensor_sharded != tensor_sharded) {
        continue;
      }
      slots_.push_back({parameter, num_elements_, parameter->leaf.numel()});
      num_elements_ += parameter->leaf.numel();
    }
  }
  num_elements_ = begin + RoundUp(num_elements_ - begin, options_.num_owners);
  for (int64_t end = num_elements_; end > begin;) {
    const int64_t size = std::min(bucket_size, end - begin);
    end -= size;
    buckets_.push_back({end, size, weight_decay});
  }
}

void FlatParameters::FindPieces() {
  for (const Bucket& bucket : buckets_) {
    const int64_t size = bucket.size / options_.num_owners;
    Piece piece = {.begin = bucket.begin + options_.owner * size,
                   .size = size,
                   .place = 0,
                   .weight_decay = bucket.weight_decay};
    // Merged into the previous piece if adjacent (it lies before it).
    if (!pieces_.empty() && piece.begin + piece.size == pieces_.back().begin &&
        pieces_.back().weight_decay == piece.weight_decay) {
      piece.size += pieces_.back().size;
      pieces_.back() = piece;
    } else {
      pieces_.push_back(piece);
    }
  }
  for (Piece& piece : pieces_) {
    piece.place = num_owned_;
    num_owned_ += piece.size;
  }
}

std::vector<FlatParameters::Run> FlatParameters::OwnRuns() const {
  std::vector<Run> runs;
  const auto is_sharded = [&](size_t slot) {
    return slots_[slot].parameter->tensor_sharded;
  };
  for (const Piece& piece : pieces_) {
    for (size_t first = 0, next = 0; first < slots_.size(); first = next) {
      while (next < slots_.size() && is_sharded(next) == is_sharded(first)) {
        ++next;
      }
      const int64_t begin = std::max(piece.begin, slots_[first].begin);
      const int64_t end =
          std::min(piece.begin + piece.size,
                   slots_[next - 1].begin + slots_[next - 1].size);
      if (begin < end) runs.push_back({begin, end - begin, is_sharded(first)});
    }
  }
  return runs;
}

at::Tensor FlatParameters::OwnPart(const at::Tensor& flat,
                                   const Bucket& bucket) const {
  const int64_t size = bucket.size / options_.num_owners;
  return flat.narrow(0, bucket.begin + options_.owner * size, size);
}

at::Tensor FlatParameters::Masters(const Piece& piece) const {
  return masters_.defined() ? masters_.narrow(0, piece.place, piece.size)
                            : values_.narrow(0, piece.begin, piece.size);
}

void FlatParameters::RoundMasters() {
  if (!masters_.defined()) return;
  for (const Piece& piece : pieces_) {
    values_.narrow(0, piece.begin, piece.size).copy_(Masters(piece));
  }
}

void FlatParameters::ZeroGradients() { gradients_.zero_(); }

bool Overlap(const FlatParameters::Bucket& bucket,
             const FlatParameters::Slot& slot) {
  return bucket.begin < slot.begin + slot.size &&
         slot.begin < bucket.begin + bucket.size;
}

}  // namespace lextra

#include "data/samples/packed_samples.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/seeds.h"
#include "base/work_counter.h"

namespace lextra {
namespace {

// Fisher-Yates; implemented here because std::shuffle differs between standard
// libraries.
void Shuffle(uint64_t seed, std::vector<int64_t>* shuffled) {
  std::vector<int64_t>& order = *shuffled;
  const uint64_t key = SeedFor(seed, "order of documents");
  for (int64_t last = std::ssize(order) - 1; last > 0; --last) {
    // The upper half of random * (last + 1): uniform over [0, last].
    const auto scaled = static_cast<unsigned __int128>(MixBits(key + last)) *
                        static_cast<uint64_t>(last + 1);
    std::swap(order[last], order[static_cast<int64_t>(scaled >> 64)]);
    CountWork();
  }
}

}  // namespace

absl::StatusOr<PackedSamples> PackedSamples::Create(
    const TokenDataset& dataset, int64_t training_length,
    std::optional<uint64_t> shuffle_seed) {
  PackedSamples samples;
  samples.dataset_ = &dataset;
  samples.training_length_ = training_length;
  // The last sample's last target is one token further.
  samples.num_samples_ = (dataset.num_tokens() - 1) / training_length;
  if (dataset.num_tokens() <= training_length) {
    return InputError(absl::StrFormat(
        "%s: %d tokens in %d documents, but a sample needs %d (the training "
        "length plus one)",
        dataset.prefix(), dataset.num_tokens(), dataset.num_documents(),
        training_length + 1));
  }
  samples.unused_tokens_ =
      dataset.num_tokens() - 1 - samples.num_samples_ * training_length;
  samples.order_.resize(dataset.num_documents());
  std::iota(samples.order_.begin(), samples.order_.end(), 0);
  if (shuffle_seed) Shuffle(*shuffle_seed, &samples.order_);
  samples.begin_.reserve(samples.order_.size());
  int64_t begin = 0;
  for (const int64_t document : samples.order_) {
    samples.begin_.push_back(begin);
    begin += dataset.document_size(document);
    CountWork();
  }
  return samples;
}

// The last document that begins at or before it.
int64_t PackedSamples::DocumentAt(int64_t place) const {
  return std::upper_bound(begin_.begin(), begin_.end(), place) -
         begin_.begin() - 1;
}

PackedSamples::Documents PackedSamples::DocumentsOf(int64_t sample) const {
  const int64_t begin = sample * training_length_;
  return {.first = DocumentAt(begin + 1),
          .last = DocumentAt(begin + training_length_)};
}

absl::Status PackedSamples::Read(int64_t sample, std::span<int64_t> out) const {
  if (sample < 0 || sample >= num_samples_ ||
      std::ssize(out) != training_length_ + 1) {
    return InputError(
        absl::StrFormat("%s: no sample %d with %d tokens: there are %d with %d",
                        dataset_->prefix(), sample, out.size(), num_samples_,
                        training_length_ + 1));
  }
  int64_t place = sample * training_length_;  // of the stream
  int64_t i = DocumentAt(place);
  while (!out.empty()) {
    const int64_t document = order_[i];
    const int64_t first = place - begin_[i];
    const int64_t count = std::min<int64_t>(
        out.size(), dataset_->document_size(document) - first);
    LEXTRA_RETURN_IF_ERROR(
        dataset_->Read(document, first, out.subspan(0, count)));
    out = out.subspan(count);
    place += count;
    ++i;
  }
  return absl::OkStatus();
}

}  // namespace lextra

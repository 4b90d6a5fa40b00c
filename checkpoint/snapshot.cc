#include "checkpoint/snapshot.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/seeds.h"
#include "checkpoint/tensor_file.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace lextra {
namespace {

bool IsWriter(const ShardedTensor& tensor) {
  return static_cast<int>(SeedFor(0, tensor.name) % tensor.num_replicas) ==
         tensor.replica;
}

std::vector<Box> BoxesToStore(const ShardedTensor& tensor, int max_tensor) {
  TORCH_CHECK(tensor.tensor.sizes().vec() == tensor.box.shape, tensor.name,
              ": tensor of shape ", tensor.tensor.sizes(),
              " for a box of shape ", tensor.box.shape);
  // Empty boxes need no bytes.
  if (!IsWriter(tensor) || tensor.box.num_elements() == 0) return {};
  if (tensor.split_dim < 0) return {tensor.box};
  const int64_t extent = tensor.global_shape[tensor.split_dim];
  TORCH_CHECK(extent % max_tensor == 0, tensor.name, ": an extent of ", extent,
              " is not divisible by the largest tensor degree, ", max_tensor);
  return CutAtMultiples(tensor.box, tensor.split_dim, extent / max_tensor);
}

// memcpy that bypasses the caches, which training needs: stores go to memory
// without reading what they overwrite, which saves a third of the traffic.
void CopyPastCaches(std::byte* to, const std::byte* from, int64_t count) {
#if defined(__SSE2__)
  constexpr int64_t kStoreBytes = sizeof(__m128i);
  const int64_t past = reinterpret_cast<uintptr_t>(to) % kStoreBytes;
  const int64_t head = std::min(count, (kStoreBytes - past) % kStoreBytes);
  std::memcpy(to, from, head);
  int64_t done = head;
  for (; done + 4 * kStoreBytes <= count; done += 4 * kStoreBytes) {
    const auto* const source = reinterpret_cast<const __m128i*>(from + done);
    auto* const target = reinterpret_cast<__m128i*>(to + done);
    const __m128i parts[4] = {
        _mm_loadu_si128(source), _mm_loadu_si128(source + 1),
        _mm_loadu_si128(source + 2), _mm_loadu_si128(source + 3)};
    for (int i = 0; i < 4; ++i) _mm_stream_si128(target + i, parts[i]);
  }
  std::memcpy(to + done, from + done, count - done);
#else
  std::memcpy(to, from, count);
#endif
}

// Makes the calling thread's CopyPastCaches visible to the threads that follow.
void FinishCopies() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// Minimum share of a thread in an image.
constexpr int64_t kGrainBytes = int64_t{1} << 20;

// Copies the part of the entry's box in bytes [begin, end) of the image from
// the contiguous bytes of the tensor that holds it.
void CopyEntry(const ShardImage::Entry& entry, const Box& tensor_box,
               const std::byte* tensor, int64_t begin, int64_t end,
               std::byte* image) {
  const int64_t element_bytes = entry.num_bytes / entry.box.num_elements();
  ForEachRun(entry.box, tensor_box, entry.box,
             [&](int64_t from, int64_t to, int64_t count) {
               const int64_t run = entry.begin + to * element_bytes;
               const int64_t first = std::max(run, begin);
               const int64_t last = std::min(run + count * element_bytes, end);
               if (first >= last) return;
               CopyPastCaches(image + first,
                              tensor + from * element_bytes + (first - run),
                              last - first);
             });
}

}  // namespace

// A tensor may come in several boxes (slices of a flat buffer), which become
// one TensorToStore each; the manifest joins them by name.
std::vector<TensorToStore> TensorsToStore(
    const std::vector<ShardedTensor>& tensors, int max_tensor) {
  std::vector<TensorToStore> stored;
  for (const ShardedTensor& tensor : tensors) {
    stored.push_back({.name = tensor.name,
                      .dtype = DtypeName(tensor.tensor.scalar_type()),
                      .global_shape = tensor.global_shape,
                      .boxes = BoxesToStore(tensor, max_tensor)});
  }
  return stored;
}

void FillImage(const std::vector<ShardedTensor>& tensors, ShardImage* image) {
  TORCH_CHECK(tensors.size() == image->tensors().size(), "an image of ",
              image->tensors().size(), " tensors cannot hold ", tensors.size());
  std::vector<at::Tensor> sources;
  for (size_t i = 0; i < tensors.size(); ++i) {
    TORCH_CHECK(tensors[i].name == image->tensors()[i].name,
                "an image of other tensors: ", image->tensors()[i].name,
                " where ", tensors[i].name, " is given");
    const bool is_stored = !image->tensors()[i].boxes.empty();
    sources.push_back(is_stored
                          ? tensors[i].tensor.detach().to(at::kCPU).contiguous()
                          : at::Tensor());
  }
  const std::vector<ShardImage::Entry>& entries = image->entries();
  // Threads share bytes, not entries: an embedding may be half of them.
  at::parallel_for(
      0, static_cast<int64_t>(image->data().size()), kGrainBytes,
      [&](int64_t begin, int64_t end) {
        auto entry = std::partition_point(
            entries.begin(), entries.end(), [&](const auto& candidate) {
              return candidate.begin + candidate.num_bytes <= begin;
            });
        for (; entry != entries.end() && entry->begin < end; ++entry) {
          CopyEntry(*entry, tensors[entry->tensor].box,
                    static_cast<const std::byte*>(
                        sources[entry->tensor].const_data_ptr()),
                    begin, end, image->data().data());
        }
        FinishCopies();
      });
}

}  // namespace lextra

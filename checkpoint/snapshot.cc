#include "checkpoint/snapshot.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cstring>
#include <utility>

#include "base/seeds.h"
#include "checkpoint/tensor_file.h"

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
              " does not divide by the largest tensor degree, ", max_tensor);
  return CutAtMultiples(tensor.box, tensor.split_dim, extent / max_tensor);
}

// Copies the entry's box out of the contiguous bytes of the tensor that holds
// it.
void CopyEntry(const ShardImage::Entry& entry, const Box& tensor_box,
               const std::byte* tensor, std::span<std::byte> data) {
  const int64_t element_bytes = entry.num_bytes / entry.box.num_elements();
  ForEachRun(entry.box, tensor_box, entry.box,
             [&](int64_t from, int64_t to, int64_t count) {
               std::memcpy(data.data() + entry.begin + to * element_bytes,
                           tensor + from * element_bytes,
                           count * element_bytes);
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
              image->tensors().size(), " tensors can't take ", tensors.size());
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
  at::parallel_for(0, static_cast<int64_t>(entries.size()), 1,
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) {
                       const int tensor = entries[i].tensor;
                       CopyEntry(entries[i], tensors[tensor].box,
                                 static_cast<const std::byte*>(
                                     sources[tensor].const_data_ptr()),
                                 image->data());
                     }
                   });
}

}  // namespace lextra

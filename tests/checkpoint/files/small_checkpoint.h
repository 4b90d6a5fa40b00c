// A checkpoint of three shards whose every byte is known, made without ranks:
// several dtypes, row and column boxes, an empty tensor and a scalar.
#ifndef LEXTRA_TESTS_CHECKPOINT_FILES_SMALL_CHECKPOINT_H_
#define LEXTRA_TESTS_CHECKPOINT_FILES_SMALL_CHECKPOINT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/box.h"
#include "base/status.h"
#include "checkpoint/files/step_save.h"

namespace lextra {

inline constexpr int kNumShards = 3;

// A tensor, all of its bytes (C order), and the boxes that each rank stores.
struct KnownTensor {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::vector<std::vector<Box>> boxes;  // by rank
  std::vector<std::byte> bytes = {};
};

enum class Size {
  kTiny,        // a few hundred bytes
  kSeveralMiB,  // with boxes of several blocks, cut by rows and by columns
};

// Bytes are drawn from `seed`.
std::vector<KnownTensor> KnownTensors(Size size, int seed);

// The bytes of a box, element by element.
std::vector<std::byte> BytesOfBox(const KnownTensor& tensor, const Box& box);

// Saves the tensors as three ranks would: begin, three shards, commit; after an
// error the save is abandoned. Returns the step folder.
absl::StatusOr<std::string> SaveKnown(const std::string& run_folder,
                                      int64_t step,
                                      const std::vector<KnownTensor>& tensors);

// What a reader makes of a step folder.
struct ReadResult {
  absl::Status status;     // of the manifest and all tensors
  int64_t bytes_read = 0;  // by the reader
  bool has_wrong = false;  // a byte was handed out that was not saved
};
// Reads every tensor, each as a whole; continues after one that can't be read.
ReadResult ReadKnown(const std::string& step_folder,
                     const std::vector<KnownTensor>& tensors);

// Whether a step folder passes VerifyCheckpoint and reads as `tensors`.
bool IsWhole(const std::string& step_folder,
             const std::vector<KnownTensor>& tensors);

}  // namespace lextra

#endif  // LEXTRA_TESTS_CHECKPOINT_FILES_SMALL_CHECKPOINT_H_

#include "checkpoint/manifest.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/files.h"
#include "checkpoint/safetensors.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxManifestBytes = int64_t{256} << 20;
constexpr std::string_view kStepPrefix = "step-";

std::string Join(const std::vector<int64_t>& numbers) {
  return absl::StrCat("[", absl::StrJoin(numbers, ", "), "]");
}

std::string Text(const Box& box) {
  return absl::StrCat("box at ", Join(box.offset), " of shape ",
                      Join(box.shape));
}

absl::StatusOr<Manifest> ParseManifest(const std::string& json) {
  // A newer version may have fields that we don't know, and says so by its
  // version; only then is a field of ours wrong.
  google::protobuf::util::JsonParseOptions lenient;
  lenient.ignore_unknown_fields = true;
  Manifest manifest;
  auto parsed =
      google::protobuf::util::JsonStringToMessage(json, &manifest, lenient);
  if (parsed.ok() && manifest.format_version() == kManifestVersion) {
    manifest.Clear();
    parsed = google::protobuf::util::JsonStringToMessage(json, &manifest);
  }
  if (!parsed.ok()) {
    return CheckpointError(
        absl::StrCat("not a manifest: ", parsed.message().ToString()));
  }
  return manifest;
}

// The dimension that tells the boxes apart best.
size_t SweepDim(const std::vector<Box>& boxes) {
  size_t best = 0;
  size_t most = 0;
  for (size_t dim = 0; dim < boxes[0].offset.size(); ++dim) {
    std::set<int64_t> offsets;
    for (const Box& box : boxes) offsets.insert(box.offset[dim]);
    if (offsets.size() > most) {
      most = offsets.size();
      best = dim;
    }
  }
  return best;
}

// Two boxes that share a place, if any do. Only boxes that meet along one
// dimension are compared, so thousands of slices take no time.
std::optional<std::pair<Box, Box>> FindOverlap(std::vector<Box> boxes) {
  if (boxes.size() < 2) return std::nullopt;
  if (boxes[0].offset.empty()) return std::pair(boxes[0], boxes[1]);
  const size_t dim = SweepDim(boxes);
  std::sort(boxes.begin(), boxes.end(), [dim](const Box& a, const Box& b) {
    return a.offset[dim] < b.offset[dim];
  });
  for (size_t i = 0; i < boxes.size(); ++i) {
    const int64_t end = boxes[i].offset[dim] + boxes[i].shape[dim];
    for (size_t j = i + 1; j < boxes.size() && boxes[j].offset[dim] < end;
         ++j) {
      if (Intersect(boxes[i], boxes[j])) return std::pair(boxes[i], boxes[j]);
    }
  }
  return std::nullopt;
}

bool LiesWithin(const Box& box, const std::vector<int64_t>& shape) {
  if (box.offset.size() != shape.size() || box.shape.size() != shape.size()) {
    return false;
  }
  for (size_t dim = 0; dim < shape.size(); ++dim) {
    if (box.offset[dim] < 0 || box.shape[dim] < 1 ||
        box.shape[dim] > shape[dim] ||
        box.offset[dim] > shape[dim] - box.shape[dim]) {
      return false;
    }
  }
  return true;
}

absl::Status CheckBox(const Manifest& manifest, const TensorIndex& tensor,
                      const StoredBox& stored) {
  const Box box = BoxOf(stored);
  if (!LiesWithin(box, ShapeOf(tensor))) {
    return CheckpointError(absl::StrCat(Text(box), " is not a part of shape ",
                                        Join(ShapeOf(tensor))));
  }
  if (stored.file() < 0 || stored.file() >= manifest.files_size()) {
    return CheckpointError(absl::StrFormat("%s lies in file %d of %d",
                                           Text(box), stored.file(),
                                           manifest.files_size()));
  }
  const ShardFile& file = manifest.files(stored.file());
  const int64_t element_bytes = *DtypeBytes(tensor.dtype());
  const int64_t num_bytes = box.num_elements() * element_bytes;
  const int64_t begin = stored.file_offset();
  if (begin < 0 || num_bytes > file.bytes() ||
      begin > file.bytes() - num_bytes || begin % element_bytes != 0) {
    return CheckpointError(absl::StrFormat(
        "%s: %d bytes at byte %d don't lie aligned within the %d of %s",
        Text(box), num_bytes, begin, file.bytes(), file.name()));
  }
  return absl::OkStatus();
}

absl::Status CheckTensor(const Manifest& manifest, const TensorIndex& tensor) {
  const std::vector<int64_t> shape = ShapeOf(tensor);
  if (!DtypeBytes(tensor.dtype())) {
    return CheckpointError(
        absl::StrCat("dtype '", tensor.dtype(), "' is unknown"));
  }
  if (!TensorBytes(tensor.dtype(), shape)) {
    return CheckpointError(
        absl::StrCat("shape ", Join(shape), " is negative or too large"));
  }
  std::vector<Box> boxes;
  int64_t covered = 0;
  for (const StoredBox& stored : tensor.boxes()) {
    LEXTRA_RETURN_IF_ERROR(CheckBox(manifest, tensor, stored));
    boxes.push_back(BoxOf(stored));
    if (__builtin_add_overflow(covered, boxes.back().num_elements(),
                               &covered)) {
      return CheckpointError("its boxes are too many");
    }
  }
  if (const auto overlap = FindOverlap(boxes)) {
    return CheckpointError(absl::StrCat("the ", Text(overlap->first),
                                        " and the ", Text(overlap->second),
                                        " overlap"));
  }
  const int64_t expected = Box::Whole(shape).num_elements();
  if (covered != expected) {
    return CheckpointError(
        absl::StrFormat("its boxes cover %d of the %d places of shape %s",
                        covered, expected, Join(shape)));
  }
  return absl::OkStatus();
}

// Whether `name` stays inside the folder it is joined to.
bool IsPlainName(const std::string& name) {
  return !name.empty() && name[0] != '.' &&
         name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

absl::Status CheckFile(const std::string& folder, const ShardFile& file) {
  const fs::path path = fs::path(folder) / file.name();
  std::error_code error;
  // A link may lead anywhere; our own files are never links.
  const fs::file_status status = fs::symlink_status(path, error);
  if (!fs::exists(status)) {
    return CheckpointError(
        absl::StrCat(path.string(), ": is missing, but the manifest names it"));
  }
  if (!fs::is_regular_file(status)) {
    return CheckpointError(
        absl::StrCat(path.string(), ": is not a regular file"));
  }
  const int64_t bytes = static_cast<int64_t>(fs::file_size(path, error));
  if (error || bytes != file.bytes()) {
    return CheckpointError(
        absl::StrFormat("%s: has %d bytes, but the manifest states %d",
                        path.string(), bytes, file.bytes()));
  }
  return absl::OkStatus();
}

}  // namespace

std::string StepFolderName(int64_t step) {
  return absl::StrFormat("step-%08d", step);
}

std::optional<int64_t> StepOf(const std::string& folder) {
  fs::path path(folder);
  if (!path.has_filename()) path = path.parent_path();  // "run/step-1/"
  const std::string name = path.filename().string();
  if (name.rfind(kStepPrefix, 0) != 0) return std::nullopt;
  const std::string digits = name.substr(kStepPrefix.size());
  int64_t step = 0;
  if (!std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit) ||
      !absl::SimpleAtoi(digits, &step)) {
    return std::nullopt;
  }
  return step;
}

absl::StatusOr<std::vector<std::string>> ListCheckpoints(
    const std::string& run_folder) {
  std::error_code error;
  fs::directory_iterator entries(run_folder, error);
  if (error) {
    return InputError(absl::StrCat(run_folder, ": ", error.message()));
  }
  std::vector<std::pair<int64_t, std::string>> found;
  for (; entries != fs::directory_iterator(); entries.increment(error)) {
    const std::string path = entries->path().string();
    const std::optional<int64_t> step = StepOf(path);
    if (step && entries->is_directory(error)) found.emplace_back(*step, path);
    if (error) {
      return InputError(absl::StrCat(run_folder, ": ", error.message()));
    }
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> folders;
  for (auto& [step, path] : found) folders.push_back(std::move(path));
  return folders;
}

absl::StatusOr<std::string> FindCheckpoint(const std::string& path) {
  std::error_code error;
  if (fs::exists(fs::path(path) / kManifestName, error)) return path;
  const absl::StatusOr<std::vector<std::string>> steps = ListCheckpoints(path);
  if (!steps.ok())
    return CheckpointError(absl::StrCat(steps.status().message()));
  if (!steps->empty()) return steps->back();
  return CheckpointError(absl::StrFormat(
      "%s: no checkpoint here: neither a %s nor a step-* folder", path,
      kManifestName));
}

absl::Status CheckManifest(const Manifest& manifest) {
  if (manifest.format_version() != kManifestVersion) {
    return CheckpointError(
        absl::StrFormat("format version is %d, this program reads %d",
                        manifest.format_version(), kManifestVersion));
  }
  std::set<std::string> files;
  for (const ShardFile& file : manifest.files()) {
    if (!IsPlainName(file.name())) {
      return CheckpointError(absl::StrCat(
          "file name '", file.name(), "' is not a plain name in the folder"));
    }
    if (!files.insert(file.name()).second || file.bytes() < 0) {
      return CheckpointError(absl::StrCat("file '", file.name(),
                                          "' appears twice or has no size"));
    }
  }
  std::set<std::string> tensors;
  for (const TensorIndex& tensor : manifest.tensors()) {
    absl::Status status = CheckTensor(manifest, tensor);
    if (status.ok() && !tensors.insert(tensor.name()).second) {
      status = CheckpointError("appears twice");
    }
    if (!status.ok()) {
      return WithContext(status, absl::StrCat("tensor '", tensor.name(), "'"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Manifest> ReadManifest(const std::string& step_folder) {
  const std::string path = (fs::path(step_folder) / kManifestName).string();
  const absl::StatusOr<std::string> json = ReadFile(path, kMaxManifestBytes);
  if (!json.ok()) {
    return CheckpointError(absl::StrCat("no checkpoint to read in ",
                                        step_folder, ": ",
                                        json.status().message()));
  }
  absl::StatusOr<Manifest> manifest = ParseManifest(*json);
  absl::Status status = manifest.status();
  if (status.ok()) status = CheckManifest(*manifest);
  if (!status.ok()) return WithContext(status, path);
  for (const ShardFile& file : manifest->files()) {
    LEXTRA_RETURN_IF_ERROR(CheckFile(step_folder, file));
  }
  return manifest;
}

absl::Status WriteManifest(const std::string& folder,
                           const Manifest& manifest) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto printed =
      google::protobuf::util::MessageToJsonString(manifest, &json, options);
  if (!printed.ok()) {
    return CheckpointError(absl::StrCat("can't print the manifest: ",
                                        printed.message().ToString()));
  }
  LEXTRA_ASSIGN_OR_RETURN(
      FileWriter writer,
      FileWriter::Create((fs::path(folder) / kManifestName).string()));
  LEXTRA_RETURN_IF_ERROR(writer.Write(json));
  return writer.Close();
}

Box BoxOf(const StoredBox& stored) {
  return {{stored.offset().begin(), stored.offset().end()},
          {stored.shape().begin(), stored.shape().end()}};
}

std::vector<int64_t> ShapeOf(const TensorIndex& tensor) {
  return {tensor.shape().begin(), tensor.shape().end()};
}

std::string StoredName(const std::string& tensor,
                       const std::vector<int64_t>& offset) {
  const bool at_origin = std::all_of(offset.begin(), offset.end(),
                                     [](int64_t place) { return place == 0; });
  if (at_origin) return tensor;
  return absl::StrCat(tensor, "[", absl::StrJoin(offset, ","), "]");
}

}  // namespace lextra

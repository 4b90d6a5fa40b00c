#include "checkpoint/files/manifest.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/hash/sha256.h"
#include "base/io/files.h"
#include "base/io/open_files.h"
#include "base/io/system_calls.h"
#include "base/math.h"
#include "checkpoint/files/safetensors.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxManifestBytes = int64_t{256} << 20;

std::string Join(const std::vector<int64_t>& numbers) {
  return absl::StrCat("[", absl::StrJoin(numbers, ", "), "]");
}

std::string Text(const Box& box) {
  return absl::StrCat("box at ", Join(box.offset), " of shape ",
                      Join(box.shape));
}

// What follows the digested text: `,"sha256":"` digest `"}` and a line's end.
constexpr std::string_view kDigestOpening = ",\"sha256\":\"";
constexpr std::string_view kDigestClosing = "\"}\n";
constexpr size_t kDigestSize = 64;
constexpr size_t kTailSize =
    kDigestOpening.size() + kDigestSize + kDigestClosing.size();

// `text` without its digest, as JSON of its own. Version 1 has none.
absl::StatusOr<std::string> Undigested(const std::string& text) {
  const std::string_view all = text;
  const bool has_digest =
      all.size() > kTailSize && all.ends_with(kDigestClosing) &&
      all.substr(all.size() - kTailSize).starts_with(kDigestOpening);
  if (!has_digest) return text;
  const std::string_view body = all.substr(0, all.size() - kTailSize);
  const std::string_view stated =
      all.substr(body.size() + kDigestOpening.size(), kDigestSize);
  const std::string found = Sha256(body);
  if (found != stated) {
    return DamagedError(absl::StrCat("SHA-256 of its bytes is ", found,
                                     ", expected ", std::string(stated)));
  }
  return std::string(body) + "}";
}

absl::Status CheckBox(const Manifest& manifest, const TensorIndex& tensor,
                      const StoredBox& stored) {
  const Box box = BoxOf(stored);
  if (!LiesWithin(box, ShapeOf(tensor))) {
    return DamagedError(absl::StrCat(Text(box), " is not within shape ",
                                     Join(ShapeOf(tensor))));
  }
  if (stored.file() < 0 || stored.file() >= manifest.files_size()) {
    return DamagedError(absl::StrFormat("%s is in file %d of %d", Text(box),
                                        stored.file(), manifest.files_size()));
  }
  const ShardFile& file = manifest.files(stored.file());
  const int64_t element_bytes = *DtypeBytes(tensor.dtype());
  const int64_t num_bytes = box.num_elements() * element_bytes;
  const int64_t begin = stored.file_offset();
  if (begin < 0 || num_bytes > file.bytes() ||
      begin > file.bytes() - num_bytes || begin % element_bytes != 0) {
    return DamagedError(absl::StrFormat(
        "%s: %d bytes at byte %d are not aligned within the %d bytes of %s",
        Text(box), num_bytes, begin, file.bytes(), file.name()));
  }
  const int64_t num_blocks = CeilDivide(num_bytes, kBlockBytes);
  if (HasChecksums(manifest) &&
      stored.block_crc32c_size() != (num_blocks > 1 ? num_blocks : 0)) {
    return DamagedError(
        absl::StrFormat("%s of %d blocks has %d block checksums", Text(box),
                        num_blocks, stored.block_crc32c_size()));
  }
  return absl::OkStatus();
}

absl::Status CheckTensor(const Manifest& manifest, const TensorIndex& tensor) {
  const std::vector<int64_t> shape = ShapeOf(tensor);
  if (!DtypeBytes(tensor.dtype())) {
    return DamagedError(absl::StrCat("unknown dtype '", tensor.dtype(), "'"));
  }
  if (!TensorBytes(tensor.dtype(), shape)) {
    return DamagedError(
        absl::StrCat("shape ", Join(shape), " is negative or too large"));
  }
  std::vector<Box> boxes;
  int64_t covered = 0;
  for (const StoredBox& stored : tensor.boxes()) {
    LEXTRA_RETURN_IF_ERROR(CheckBox(manifest, tensor, stored));
    boxes.push_back(BoxOf(stored));
    if (__builtin_add_overflow(covered, boxes.back().num_elements(),
                               &covered)) {
      return DamagedError("too many boxes");
    }
  }
  if (const auto overlap = FindOverlap(boxes)) {
    return DamagedError(absl::StrCat("the ", Text(overlap->first), " and the ",
                                     Text(overlap->second), " overlap"));
  }
  const int64_t expected = Box::Whole(shape).num_elements();
  if (covered != expected) {
    return DamagedError(
        absl::StrFormat("its boxes cover %d of the %d elements of shape %s",
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

absl::Status CheckVersion(const Manifest& manifest) {
  const int version = manifest.format_version();
  if (version < 1) {
    return DamagedError(
        absl::StrFormat("format version is %d, expected at least 1", version));
  }
  const int needed =
      version > kManifestVersion ? manifest.min_reader_version() : 0;
  if (version > kManifestVersion &&
      (needed == 0 || needed > kManifestVersion)) {
    return CheckpointError(absl::StrFormat(
        "format version is %d, written by a newer program (%s); this one reads "
        "versions up to %d; use the newer program",
        version, manifest.program(), kManifestVersion));
  }
  return absl::OkStatus();
}

absl::Status CheckFileNames(const Manifest& manifest) {
  std::set<std::string> files;
  for (const ShardFile& file : manifest.files()) {
    if (!IsPlainName(file.name())) {
      return DamagedError(absl::StrCat("file name '", file.name(),
                                       "' is not a plain name in the folder"));
    }
    if (!files.insert(file.name()).second || file.bytes() < 0) {
      return DamagedError(absl::StrCat("file '", file.name(),
                                       "' is a duplicate or has no size"));
    }
  }
  return absl::OkStatus();
}

// Every byte of every file belongs to its header or to one box, so that every
// byte has a checksum.
absl::Status CheckFilesAreTiled(const Manifest& manifest) {
  std::vector<std::vector<std::pair<int64_t, int64_t>>> pieces;
  for (const ShardFile& file : manifest.files()) {
    pieces.push_back({{0, file.header_bytes()}});
  }
  for (const TensorIndex& tensor : manifest.tensors()) {
    const int64_t element_bytes = *DtypeBytes(tensor.dtype());
    for (const StoredBox& stored : tensor.boxes()) {
      pieces[stored.file()].emplace_back(
          stored.file_offset(), BoxOf(stored).num_elements() * element_bytes);
    }
  }
  for (int i = 0; i < manifest.files_size(); ++i) {
    std::sort(pieces[i].begin(), pieces[i].end());
    int64_t end = 0;
    bool tiled = manifest.files(i).header_bytes() > 0;
    for (const auto& [begin, size] : pieces[i]) {
      tiled = tiled && begin == end;
      end = begin + size;
    }
    if (!tiled || end != manifest.files(i).bytes()) {
      return DamagedError(absl::StrCat("the header and boxes of file '",
                                       manifest.files(i).name(),
                                       "' leave gaps or overlap"));
    }
  }
  return absl::OkStatus();
}

// A dangling link says nothing about the stored data: most often the storage is
// not mounted. So it is not corruption.
absl::Status CheckLink(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_symlink(fs::symlink_status(path, ignored)) ||
      fs::status(path, ignored).type() != fs::file_type::not_found) {
    return absl::OkStatus();
  }
  return CheckpointError(absl::StrFormat(
      "%s: is a link to %s, which does not exist; mount or restore that, or "
      "remove the link",
      path.string(), fs::read_symlink(path, ignored).string()));
}

absl::Status CheckFile(const std::string& folder, const ShardFile& file) {
  const fs::path path = fs::path(folder) / file.name();
  LEXTRA_RETURN_IF_ERROR(CheckLink(path));
  std::error_code error;
  // Links are followed: the checksums cover what they point to.
  const fs::file_status status = fs::status(path, error);
  if (!fs::status_known(status)) {
    return StorageError(absl::StrCat(path.string(), ": ", error.message()));
  }
  if (!fs::exists(status)) {
    return DamagedError(
        absl::StrCat(path.string(), ": missing, but listed in the manifest"));
  }
  if (!fs::is_regular_file(status)) {
    return DamagedError(absl::StrCat(path.string(), ": not a regular file"));
  }
  const int64_t bytes = static_cast<int64_t>(fs::file_size(path, error));
  if (error || bytes != file.bytes()) {
    return DamagedError(
        absl::StrFormat("%s: %d bytes, but the manifest says %d", path.string(),
                        bytes, file.bytes()));
  }
  return absl::OkStatus();
}

}  // namespace

std::string ManifestText(const Manifest& manifest) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto printed =
      google::protobuf::util::MessageToJsonString(manifest, &json, options);
  if (!printed.ok()) std::abort();  // every field of ours can be printed
  return WithDigest(json);
}

std::string WithDigest(const std::string& json) {
  const std::string body = json.substr(0, json.rfind('}'));
  return absl::StrCat(body, std::string(kDigestOpening), Sha256(body),
                      std::string(kDigestClosing));
}

absl::StatusOr<Manifest> ParseManifest(const std::string& text) {
  LEXTRA_ASSIGN_OR_RETURN(const std::string json, Undigested(text));
  // A newer version may have unknown fields; only in a version that we know is
  // an unknown field an error.
  google::protobuf::util::JsonParseOptions lenient;
  lenient.ignore_unknown_fields = true;
  Manifest manifest;
  auto parsed =
      google::protobuf::util::JsonStringToMessage(json, &manifest, lenient);
  if (parsed.ok()) {
    LEXTRA_RETURN_IF_ERROR(CheckVersion(manifest));
    if (manifest.format_version() <= kManifestVersion) {
      manifest.Clear();
      parsed = google::protobuf::util::JsonStringToMessage(json, &manifest);
    }
  }
  if (!parsed.ok()) {
    return DamagedError(
        absl::StrCat("not a manifest: ", parsed.message().ToString()));
  }
  if (HasChecksums(manifest) && json.size() == text.size()) {
    return DamagedError("its digest is missing: the file was truncated");
  }
  return manifest;
}

absl::Status CheckManifest(const Manifest& manifest) {
  LEXTRA_RETURN_IF_ERROR(CheckVersion(manifest));
  LEXTRA_RETURN_IF_ERROR(CheckFileNames(manifest));
  std::set<std::string> tensors;
  for (const TensorIndex& tensor : manifest.tensors()) {
    absl::Status status = CheckTensor(manifest, tensor);
    if (status.ok() && !tensors.insert(tensor.name()).second) {
      status = DamagedError("duplicate name");
    }
    if (!status.ok()) {
      return WithContext(status, absl::StrCat("tensor '", tensor.name(), "'"));
    }
  }
  return HasChecksums(manifest) ? CheckFilesAreTiled(manifest)
                                : absl::OkStatus();
}

absl::StatusOr<Manifest> ReadManifest(const std::string& step_folder) {
  const std::string path = (fs::path(step_folder) / kManifestName).string();
  const fs::path named(step_folder);
  LEXTRA_RETURN_IF_ERROR(
      CheckLink(named.has_filename() ? named : named.parent_path()));
  LEXTRA_RETURN_IF_ERROR(CheckLink(path));
  absl::StatusOr<std::string> text = ReadFile(path, kMaxManifestBytes);
  // Retries once, for a transient failure of a device or server.
  if (ExitCodeOf(text.status()) == ExitCode::kStorage) {
    text = ReadFile(path, kMaxManifestBytes);
  }
  if (!text.ok()) {
    const std::string message =
        absl::StrCat("no readable checkpoint in ", step_folder, ": ",
                     text.status().message());
    // A failing device says nothing about the stored data.
    return ExitCodeOf(text.status()) == ExitCode::kStorage
               ? StorageError(message)
               : DamagedError(message);
  }
  absl::StatusOr<Manifest> manifest = ParseManifest(*text);
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
  const std::string text = ManifestText(manifest);
  LEXTRA_ASSIGN_OR_RETURN(
      FileWriter writer,
      FileWriter::Create((fs::path(folder) / kManifestName).string()));
  LEXTRA_RETURN_IF_ERROR(writer.Write(text));
  sys::KillPoint("manifest_written");
  return writer.Close();
}

bool HasChecksums(const Manifest& manifest) {
  return manifest.format_version() >= 2;
}

uint32_t BlockCrc32c(const StoredBox& stored, int64_t block) {
  return stored.block_crc32c().empty()
             ? stored.crc32c()
             : stored.block_crc32c(static_cast<int>(block));
}

int64_t BytesOf(const Manifest& manifest) {
  int64_t bytes = 0;
  for (const ShardFile& file : manifest.files()) bytes += file.bytes();
  return bytes;
}

Box BoxOf(const StoredBox& stored) {
  return {{stored.offset().begin(), stored.offset().end()},
          {stored.shape().begin(), stored.shape().end()}};
}

std::vector<int64_t> ShapeOf(const TensorIndex& tensor) {
  return {tensor.shape().begin(), tensor.shape().end()};
}

}  // namespace lextra

#include "checkpoint/files/safetensors.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/io/open_files.h"
#include "checkpoint/files/dtypes.h"

namespace lextra {
namespace {

constexpr int64_t kLengthBytes = 8;
// The format allows 100 MB; a parsed header takes twenty times its bytes, and
// ours have less than 100 a tensor.
constexpr uint64_t kMaxHeaderBytes = uint64_t{8} << 20;
constexpr size_t kMaxDims = 64;  // as many as LibTorch's own kernels take
constexpr int64_t kAlignment = 8;
constexpr char kMetadataKey[] = "__metadata__";

// A tensor as its header states it, offsets relative to the data.
struct StatedTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::vector<int64_t> data_offsets;
};

// Takes the header's JSON event by event, because a parser that builds a tree
// drops repeated names silently. The header's shape is fixed, so its nesting is
// bounded: object, entry, list.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::map<std::string, StatedTensor> tensors;
  Metadata metadata;
  std::string error;  // what is wrong, if anything

  bool start_object(size_t) override {
    if (place_ == Place::kStart) return Enter(Place::kHeader);
    if (place_ != Place::kHeader) return Unexpected("an object");
    return Enter(entry_ == kMetadataKey ? Place::kMetadata : Place::kTensor);
  }

  bool key(string_t& name) override {
    if (place_ == Place::kHeader) {
      if (!entries_.insert(name).second) return Fail(name, "is a duplicate");
      entry_ = name;
      fields_.clear();
      return true;
    }
    field_ = name;
    if (!fields_.insert(name).second) {
      return Fail(entry_, absl::StrCat("has a duplicate field '", name, "'"));
    }
    if (place_ == Place::kTensor && name != "dtype" && name != "shape" &&
        name != "data_offsets") {
      return Fail(entry_,
                  absl::StrCat("has an unknown field '", name,
                               "' (available: dtype, shape, data_offsets)"));
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kHeader) return Enter(Place::kEnd);
    if (place_ == Place::kTensor && fields_.size() != 3) {
      return Fail(entry_, absl::StrCat("has only the fields {",
                                       absl::StrJoin(fields_, ", "),
                                       "} of dtype, shape, data_offsets"));
    }
    return Enter(Place::kHeader);
  }

  bool start_array(size_t) override {
    if (place_ != Place::kTensor || field_ == "dtype") {
      return Unexpected("a list");
    }
    return Enter(Place::kList);
  }
  bool end_array() override { return Enter(Place::kTensor); }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) {
      metadata[field_] = value;
      return true;
    }
    if (place_ != Place::kTensor || field_ != "dtype") {
      return Unexpected("a string");
    }
    tensors[entry_].dtype = value;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::kList) return Unexpected("a number");
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return Unexpected(absl::StrCat("the number ", value));
    }
    StatedTensor& tensor = tensors[entry_];
    auto& list = field_ == "shape" ? tensor.shape : tensor.data_offsets;
    if (list.size() == kMaxDims) {
      return Fail(entry_, absl::StrCat("field '", field_, "' has more than ",
                                       kMaxDims, " numbers"));
    }
    list.push_back(value);
    return true;
  }
  bool number_integer(number_integer_t value) override {
    return Unexpected(absl::StrCat("the number ", value));
  }
  bool number_float(number_float_t, const string_t& text) override {
    return Unexpected(absl::StrCat("the number ", text));
  }
  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool binary(binary_t&) override { return Unexpected("binary data"); }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& cause) override {
    // The text after the library's own "[..] " mark.
    std::string_view what = cause.what();
    what.remove_prefix(std::min(what.size(), what.find("] ") + 2));
    error = absl::StrFormat("header byte %d is not JSON: %s", position, what);
    return false;
  }

 private:
  enum class Place { kStart, kHeader, kMetadata, kTensor, kList, kEnd };

  bool Enter(Place place) {
    place_ = place;
    return true;
  }
  bool Fail(const std::string& entry, const std::string& what) {
    error = absl::StrCat("entry '", entry, "' ", what);
    return false;
  }
  bool Unexpected(const std::string& found) {
    if (place_ == Place::kStart) {
      error = absl::StrCat("the header is ", found, ", expected an object");
      return false;
    }
    if (place_ == Place::kHeader) {
      return Fail(entry_, absl::StrCat("is ", found, ", expected an object"));
    }
    const char* expected = place_ == Place::kMetadata || field_ == "dtype"
                               ? "a string"
                           : place_ == Place::kTensor ? "a list of numbers"
                                                      : "non-negative integers";
    return Fail(entry_, absl::StrCat("field '", field_, "' is ", found,
                                     ", expected ", expected));
  }

  Place place_ = Place::kStart;
  std::string entry_;              // the current tensor, or kMetadataKey
  std::string field_;              // its current field
  std::set<std::string> entries_;  // names seen
  std::set<std::string> fields_;   // fields seen of this entry
};

// The length of the JSON header, checked against the file.
absl::StatusOr<int64_t> HeaderLength(std::span<const std::byte> bytes) {
  if (bytes.size() < kLengthBytes) {
    return InputError(
        absl::StrFormat("%d bytes, expected at least %d (the header's length)",
                        bytes.size(), kLengthBytes));
  }
  uint64_t length = 0;
  for (int i = kLengthBytes - 1; i >= 0; --i) {
    length = length << 8 | std::to_integer<uint64_t>(bytes[i]);
  }
  const uint64_t rest = bytes.size() - kLengthBytes;
  if (length > std::min(rest, kMaxHeaderBytes)) {
    return InputError(
        absl::StrFormat("header length is %d, expected at most %d", length,
                        std::min(rest, kMaxHeaderBytes)));
  }
  return static_cast<int64_t>(length);
}

// Parses `text`, a header with its padding (spaces only).
absl::Status ParseHeader(std::string_view text, HeaderReader* reader) {
  if (text.empty() || text.front() != '{') {
    return InputError("header does not begin with '{'");
  }
  text = text.substr(0, text.find_last_not_of(' ') + 1);
  if (text.back() != '}') return InputError("header does not end with '}'");
  if (nlohmann::json::sax_parse(text, reader)) return absl::OkStatus();
  return InputError(reader->error);
}

// `stated` with its size checked against its dtype and shape.
absl::StatusOr<TensorEntry> CheckEntry(const std::string& name,
                                       const StatedTensor& stated,
                                       int64_t header_bytes,
                                       int64_t data_bytes) {
  const auto fail = [&name](const std::string& what) {
    return InputError(absl::StrCat("tensor '", name, "': ", what));
  };
  if (DtypeRank(stated.dtype) < 0) {
    return fail(absl::StrCat("unknown dtype '", stated.dtype, "'"));
  }
  const std::optional<int64_t> num_bytes =
      TensorBytes(stated.dtype, stated.shape);
  const std::string kind = KindText(stated.dtype, stated.shape);
  if (!num_bytes) return fail(absl::StrCat(kind, " is too large"));
  if (stated.data_offsets.size() != 2) {
    return fail(absl::StrFormat("data_offsets has %d numbers, expected 2",
                                stated.data_offsets.size()));
  }
  const int64_t begin = stated.data_offsets[0];
  const int64_t end = stated.data_offsets[1];
  if (begin > end || end > data_bytes) {
    return fail(absl::StrFormat(
        "data_offsets [%d, %d] is not a range within the %d bytes of data",
        begin, end, data_bytes));
  }
  if (end - begin != *num_bytes) {
    return fail(
        absl::StrFormat("data_offsets [%d, %d] span %d bytes, but %s needs %d",
                        begin, end, end - begin, kind, *num_bytes));
  }
  return TensorEntry{.name = name,
                     .dtype = stated.dtype,
                     .shape = stated.shape,
                     .file_offset = header_bytes + begin,
                     .num_bytes = *num_bytes};
}

// No gaps, no overlaps, nothing after the last tensor.
absl::Status CheckTiling(const std::vector<TensorEntry>& tensors,
                         int64_t header_bytes, int64_t file_bytes) {
  int64_t end = header_bytes;
  for (const TensorEntry& tensor : tensors) {
    if (tensor.file_offset != end) {
      return InputError(absl::StrFormat(
          "tensor '%s': its bytes begin at offset %d of the data, expected %d, "
          "where the previous tensor ends",
          tensor.name, tensor.file_offset - header_bytes, end - header_bytes));
    }
    end += tensor.num_bytes;
  }
  if (end != file_bytes) {
    return InputError(absl::StrFormat(
        "file has %d bytes, but its tensors end at byte %d", file_bytes, end));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TensorEntry>> CheckEntries(
    const std::map<std::string, StatedTensor>& stated, int64_t header_bytes,
    int64_t file_bytes) {
  std::vector<TensorEntry> tensors;
  for (const auto& [name, tensor] : stated) {
    LEXTRA_ASSIGN_OR_RETURN(
        TensorEntry entry,
        CheckEntry(name, tensor, header_bytes, file_bytes - header_bytes));
    tensors.push_back(std::move(entry));
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const TensorEntry& a, const TensorEntry& b) {
              return std::pair(a.file_offset, a.num_bytes) <
                     std::pair(b.file_offset, b.num_bytes);
            });
  LEXTRA_RETURN_IF_ERROR(CheckTiling(tensors, header_bytes, file_bytes));
  return tensors;
}

// The header's JSON; places are counted from the first tensor's.
std::string HeaderJson(const Metadata& metadata,
                       const std::vector<TensorEntry>& tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[kMetadataKey] = metadata;
  // Names are unique; looking each up in an ordered object takes its length.
  auto& entries = header.get_ref<nlohmann::ordered_json::object_t&>();
  for (const TensorEntry& tensor : tensors) {
    nlohmann::ordered_json entry;
    entry["dtype"] = tensor.dtype;
    entry["shape"] = tensor.shape;
    entry["data_offsets"] = {tensor.file_offset,
                             tensor.file_offset + tensor.num_bytes};
    entries.emplace_back(tensor.name, std::move(entry));
  }
  return header.dump();
}

}  // namespace

std::string KindText(const std::string& dtype,
                     const std::vector<int64_t>& shape) {
  return absl::StrCat(dtype, " [", absl::StrJoin(shape, ", "), "]");
}

std::optional<int64_t> TensorBytes(const std::string& dtype,
                                   const std::vector<int64_t>& shape) {
  std::optional<int64_t> bytes = DtypeBytes(dtype);
  if (!bytes) return std::nullopt;
  bool empty = false;
  for (const int64_t extent : shape) {
    // The other extents of an empty tensor must have a product too: strides
    // are computed from them.
    empty |= extent == 0;
    if (extent < 0 ||
        __builtin_mul_overflow(*bytes, std::max<int64_t>(extent, 1), &*bytes)) {
      return std::nullopt;
    }
  }
  return empty ? 0 : bytes;
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  SafetensorsFile result;
  LEXTRA_ASSIGN_OR_RETURN(result.file_, MappedFile::Open(path));
  const absl::Status status = result.ReadHeader();
  if (!status.ok()) return WithContext(status, path);
  return result;
}

absl::Status SafetensorsFile::ReadHeader() {
  const std::span<const std::byte> bytes = file_.bytes();
  LEXTRA_ASSIGN_OR_RETURN(const int64_t length, HeaderLength(bytes));
  header_bytes_ = kLengthBytes + length;
  HeaderReader reader;
  LEXTRA_RETURN_IF_ERROR(ParseHeader(
      std::string_view(
          reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length),
      &reader));
  LEXTRA_ASSIGN_OR_RETURN(
      tensors_, CheckEntries(reader.tensors, header_bytes_, file_.size()));
  metadata_ = std::move(reader.metadata);
  for (size_t i = 0; i < tensors_.size(); ++i) places_[tensors_[i].name] = i;
  return absl::OkStatus();
}

const TensorEntry* SafetensorsFile::Find(const std::string& name) const {
  const auto place = places_.find(name);
  return place == places_.end() ? nullptr : &tensors_[place->second];
}

std::string LayOutSafetensors(const Metadata& metadata,
                              std::vector<TensorEntry>* tensors) {
  std::sort(tensors->begin(), tensors->end(),
            [](const TensorEntry& a, const TensorEntry& b) {
              return std::pair(-DtypeRank(a.dtype), std::string_view(a.name)) <
                     std::pair(-DtypeRank(b.dtype), std::string_view(b.name));
            });
  int64_t end = 0;
  for (TensorEntry& tensor : *tensors) {
    tensor.file_offset = end;
    tensor.num_bytes = TensorBytes(tensor.dtype, tensor.shape).value();
    end += tensor.num_bytes;
  }
  std::string json = HeaderJson(metadata, *tensors);
  json.resize((json.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  std::string bytes;
  for (int i = 0; i < kLengthBytes; ++i) {
    bytes.push_back(static_cast<char>(json.size() >> (8 * i) & 0xff));
  }
  bytes += json;
  for (TensorEntry& tensor : *tensors) tensor.file_offset += bytes.size();
  return bytes;
}

}  // namespace lextra

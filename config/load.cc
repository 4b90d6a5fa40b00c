#include "config/load.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/io/files.h"
#include "config/fields.h"
#include "config/presets.h"
#include "config/renamed_fields.h"

namespace lextra {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;
using ::google::protobuf::TextFormat;

constexpr int64_t kMaxConfigBytes = 1 << 20;
// RunConfig > section > value; nothing of ours is deeper.
constexpr int kMaxDepth = 4;
constexpr size_t kMaxExcerptBytes = 80;

// Keeps the first error; what follows it is usually its consequence.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (!message_.empty()) return;
    line_ = line;
    column_ = column;
    message_ = message;
  }
  int line() const { return line_; }  // from 0, like the column
  int column() const { return column_; }
  const std::string& message() const { return message_; }

 private:
  int line_ = 0;
  int column_ = 0;
  std::string message_;
};

std::string Place(const std::string& source, int line, int column) {
  return absl::StrCat(source, ":", line + 1, ":", column + 1, ": ");
}

// The section whose fields are those of message `type`.
std::string SectionOfType(const Descriptor& type) {
  for (const ConfigField& field : ConfigFields()) {
    if (field.section->message_type() == &type) return field.section->name();
  }
  return "";
}

// "; renamed to model.hidden_size", or nothing.
std::string RenamedTo(const std::string& section, const std::string& field) {
  const std::optional<std::string> renamed = NewFieldName(section, field);
  return renamed ? absl::StrCat("; renamed to ", section, ".", *renamed) : "";
}

// "; renamed to WINDOW_AND_SINKS", or nothing.
std::string ValueRenamedTo(const FieldDescriptor& field,
                           const std::string& value) {
  if (field.type() != FieldDescriptor::TYPE_ENUM) return "";
  const std::optional<std::string> renamed =
      NewValueName(*field.enum_type(), value);
  return renamed ? absl::StrCat("; renamed to ", *renamed) : "";
}

// What is allowed, if protobuf only says that something is not. Its messages
// quote a message type and a field, or a value and a field.
std::string WhatIsAllowed(const std::string& message) {
  const std::vector<std::string> parts = absl::StrSplit(message, '"');
  if (parts.size() >= 5 && absl::StrContains(message, "has no field named")) {
    const Descriptor* type =
        RunConfig::descriptor()->file()->FindMessageTypeByName(
            std::string(absl::StripPrefix(parts[1], "lextra.")));
    if (type == nullptr) return "";
    const std::string renamed = RenamedTo(SectionOfType(*type), parts[3]);
    return renamed.empty() ? ". " + NearFields(parts[3], *type) : renamed;
  }
  if (parts.size() >= 5 && absl::StrContains(message, "enumeration value")) {
    for (const ConfigField& field : ConfigFields()) {
      if (field.field->name() != parts[3]) continue;
      const std::string renamed = ValueRenamedTo(*field.field, parts[1]);
      if (!renamed.empty()) return renamed;
      return "; expected " + AllowedValues(*field.field);
    }
  }
  return "";
}

// The line of `text` with the error: it shows the field's name.
std::string Excerpt(const std::string& text, int line) {
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  if (line < 0 || line >= static_cast<int>(lines.size())) return "";
  std::string excerpt(
      absl::StripAsciiWhitespace(lines[line].substr(0, kMaxExcerptBytes)));
  std::replace_if(excerpt.begin(), excerpt.end(), absl::ascii_iscntrl, ' ');
  return excerpt;
}

absl::Status SetText(const std::string& text, const FieldDescriptor* field,
                     Message* section) {
  // A string needs no quotes on a command line, but may have them.
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING &&
      !absl::StartsWith(text, "\"")) {
    section->GetReflection()->SetString(section, field, text);
    return absl::OkStatus();
  }
  FirstError ignored;
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&ignored);
  if (parser.ParseFieldValueFromString(text, field, section)) {
    return absl::OkStatus();
  }
  return UsageError(absl::StrCat("expected ", AllowedValues(*field),
                                 ValueRenamedTo(*field, text)));
}

absl::Status SetList(const std::string& text, const FieldDescriptor* field,
                     Message* section) {
  if (!absl::StartsWith(text, "[") || !absl::EndsWith(text, "]")) {
    return UsageError(absl::StrCat("expected a list like [a, b], each ",
                                   AllowedValues(*field)));
  }
  section->GetReflection()->ClearField(section, field);
  const absl::string_view inside = absl::StripAsciiWhitespace(
      absl::string_view(text).substr(1, text.size() - 2));
  if (inside.empty()) return absl::OkStatus();
  for (const absl::string_view value : absl::StrSplit(inside, ',')) {
    const std::string element(absl::StripAsciiWhitespace(value));
    if (!SetText(element, field, section).ok()) {
      return UsageError(absl::StrCat("expected a list like [a, b], each ",
                                     AllowedValues(*field),
                                     ValueRenamedTo(*field, element)));
    }
  }
  return absl::OkStatus();
}

// The field that `path` ("section.field") names.
absl::StatusOr<ConfigField> FindField(const std::string& path) {
  const Descriptor& run = *RunConfig::descriptor();
  const std::vector<std::string> names = absl::StrSplit(path, '.');
  const FieldDescriptor* section = run.FindFieldByName(names[0]);
  if (section == nullptr) {
    return UsageError(absl::StrCat("the configuration has no section \"",
                                   names[0], "\". ",
                                   NearFields(names[0], run)));
  }
  const Descriptor& type = *section->message_type();
  if (names.size() == 1) {
    return UsageError(absl::StrCat(names[0], " is a section; write ", names[0],
                                   ".FIELD=VALUE. ", NearFields("", type)));
  }
  const FieldDescriptor* field = type.FindFieldByName(names[1]);
  if (field == nullptr) {
    const std::string renamed = RenamedTo(names[0], names[1]);
    if (!renamed.empty()) {
      return UsageError(
          absl::StrCat(names[0], " has no field \"", names[1], "\"", renamed));
    }
    return UsageError(absl::StrCat(names[0], " has no field \"", names[1],
                                   "\". ", NearFields(names[1], type)));
  }
  if (names.size() > 2) {
    return UsageError(
        absl::StrCat(names[0], ".", names[1], " is a field, not a section"));
  }
  return ConfigField{section, field};
}

absl::Status ApplyOverride(const std::string& text, RunConfig* config,
                           absl::flat_hash_set<std::string>* given) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) {
    return UsageError("expected section.field=value");
  }
  const std::string path(
      absl::StripAsciiWhitespace(absl::string_view(text).substr(0, equals)));
  const std::string value(
      absl::StripAsciiWhitespace(absl::string_view(text).substr(equals + 1)));
  LEXTRA_ASSIGN_OR_RETURN(const ConfigField field, FindField(path));
  if (!given->insert(field.name()).second) {
    return UsageError(absl::StrCat("duplicate field ", field.name()));
  }
  Message* section =
      config->GetReflection()->MutableMessage(config, field.section);
  LEXTRA_RETURN_IF_ERROR(field.field->is_repeated()
                             ? SetList(value, field.field, section)
                             : SetText(value, field.field, section));
  if (!UnusableFields(*config).empty()) {
    return UsageError(absl::StrCat("expected ", AllowedValues(*field.field)));
  }
  return absl::OkStatus();
}

// The text of the file `path`, or else of the preset of that name.
absl::StatusOr<std::string> FileOrPreset(const std::string& path) {
  std::error_code ignored;
  const bool is_file = std::filesystem::is_regular_file(path, ignored);
  std::vector<std::string> names;
  for (const Preset& preset : Presets()) {
    if (!is_file && preset.name == path) return preset.text;
    names.push_back(preset.name);
  }
  absl::StatusOr<std::string> text = ReadFile(path, kMaxConfigBytes);
  if (text.ok()) return text;
  // A configuration that can't be read is the command line's fault.
  return UsageError(absl::StrCat(
      "configuration ",
      path.empty() ? "not given" : std::string(text.status().message()),
      "; expected a .textproto file or one of the presets ",
      absl::StrJoin(names, ", ")));
}

}  // namespace

absl::StatusOr<RunConfig> ParseRunConfig(const std::string& text,
                                         const std::string& source) {
  if (text.size() > kMaxConfigBytes) {
    return UsageError(absl::StrFormat("%s: %d bytes, expected at most %d",
                                      source, text.size(), kMaxConfigBytes));
  }
  RunConfig config;
  FirstError error;
  TextFormat::ParseInfoTree places;
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.WriteLocationsTo(&places);
  parser.SetRecursionLimit(kMaxDepth);
  if (!parser.ParseFromString(text, &config)) {
    return UsageError(absl::StrCat(Place(source, error.line(), error.column()),
                                   absl::StripSuffix(error.message(), "."),
                                   " in '", Excerpt(text, error.line()), "'",
                                   WhatIsAllowed(error.message())));
  }
  for (const ConfigField& field : UnusableFields(config)) {
    const TextFormat::ParseLocation place =
        places.GetTreeForNested(field.section, -1)
            ->GetLocation(field.field, -1);
    return UsageError(absl::StrCat(
        Place(source, place.line, place.column), field.name(), " = ",
        ValueText(config, field), ": expected ", AllowedValues(*field.field)));
  }
  return config;
}

absl::StatusOr<RunConfig> ParseStoredRunConfig(const std::string& text,
                                               const std::string& source) {
  return ParseRunConfig(TextWithNewNames(text), source);
}

absl::Status ApplyOverrides(const std::vector<std::string>& overrides,
                            RunConfig* config) {
  RunConfig changed = *config;
  absl::flat_hash_set<std::string> given;
  for (const std::string& text : overrides) {
    LEXTRA_RETURN_IF_ERROR(WithContext(ApplyOverride(text, &changed, &given),
                                       absl::StrCat("\"", text, "\"")));
  }
  *config = std::move(changed);
  return absl::OkStatus();
}

absl::StatusOr<RunConfig> LoadRunConfig(
    const std::string& path, const std::vector<std::string>& overrides) {
  LEXTRA_ASSIGN_OR_RETURN(const std::string text, FileOrPreset(path));
  LEXTRA_ASSIGN_OR_RETURN(RunConfig config, ParseRunConfig(text, path));
  LEXTRA_RETURN_IF_ERROR(ApplyOverrides(overrides, &config));
  return config;
}

std::string RunConfigText(const RunConfig& config) {
  RunConfig complete = config;
  MakeDefaultsExplicit(&complete);
  TextFormat::Printer printer;
  printer.SetUseUtf8StringEscaping(true);
  std::string text;
  printer.PrintToString(complete, &text);
  return text;
}

std::string RunConfigTable(const RunConfig& config) {
  size_t name_width = 0;
  for (const ConfigField& field : ConfigFields()) {
    name_width = std::max(name_width, field.name().size());
  }
  const RunConfig defaults;
  std::string table;
  for (const ConfigField& field : ConfigFields()) {
    const std::string value = ValueText(config, field);
    const char mark = value == ValueText(defaults, field) ? ' ' : '*';
    absl::StrAppendFormat(&table, "%c %-*s  %s\n", mark,
                          static_cast<int>(name_width), field.name(), value);
  }
  return table;
}

}  // namespace lextra

#include "config/fields.h"

#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace lextra {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;
using ::google::protobuf::Reflection;

// A longer name is not a typo of one of ours; comparing a mebibyte takes
// seconds.
constexpr size_t kMaxSlipBytes = 64;

// Insertions, deletions and replacements that turn a into b.
size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

// Whether `text` is UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing
// above U+10FFFF) without control characters.
bool IsPlainText(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto first = static_cast<uint8_t>(text[i++]);
    if (first < 0x20 || first == 0x7F) return false;
    if (first < 0x80) continue;
    const int more = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
    uint32_t code = first & (0x3F >> more);
    for (int k = 0; k < more; ++k, ++i) {
      if (i == text.size() || (text[i] & 0xC0) != 0x80) return false;
      code = code << 6 | (text[i] & 0x3F);
    }
    constexpr uint32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
    if (first < 0xC2 || first > 0xF4 || code < kSmallest[more] ||
        code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
      return false;
    }
  }
  return true;
}

const Message& SectionOf(const RunConfig& config, const ConfigField& field) {
  return config.GetReflection()->GetMessage(config, field.section);
}

}  // namespace

const std::vector<ConfigField>& ConfigFields() {
  static const auto* const fields = [] {
    auto* all = new std::vector<ConfigField>;
    const Descriptor& run = *RunConfig::descriptor();
    for (int s = 0; s < run.field_count(); ++s) {
      const Descriptor& section = *run.field(s)->message_type();
      for (int f = 0; f < section.field_count(); ++f) {
        all->push_back({run.field(s), section.field(f)});
      }
    }
    return all;
  }();
  return *fields;
}

const ConfigField& FieldNamed(const std::string& name) {
  const std::vector<ConfigField>& fields = ConfigFields();
  const auto found = std::find_if(
      fields.begin(), fields.end(),
      [&name](const ConfigField& field) { return field.name() == name; });
  GOOGLE_CHECK(found != fields.end()) << "run.proto has no field " << name;
  return *found;
}

std::string ValueText(const RunConfig& config, const ConfigField& field) {
  const Message& section = SectionOf(config, field);
  google::protobuf::TextFormat::Printer printer;
  printer.SetUseUtf8StringEscaping(true);
  std::string text;
  if (!field.field->is_repeated()) {
    printer.PrintFieldValueToString(section, field.field, -1, &text);
    return text;
  }
  std::vector<std::string> values;
  const int size = section.GetReflection()->FieldSize(section, field.field);
  for (int i = 0; i < size; ++i) {
    printer.PrintFieldValueToString(section, field.field, i, &text);
    values.push_back(text);
  }
  return absl::StrCat("[", absl::StrJoin(values, ", "), "]");
}

double NumberOf(const RunConfig& config, const ConfigField& field) {
  const Message& section = SectionOf(config, field);
  const Reflection& reflection = *section.GetReflection();
  switch (field.field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection.GetInt32(section, field.field);
    case FieldDescriptor::CPPTYPE_INT64:
      return static_cast<double>(reflection.GetInt64(section, field.field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection.GetDouble(section, field.field);
    default:
      GOOGLE_LOG(FATAL) << field.name() << " is not a number";
      return 0;
  }
}

void SetToDefault(RunConfig* config, const ConfigField& named) {
  Message* section =
      config->GetReflection()->MutableMessage(config, named.section);
  const FieldDescriptor* field = named.field;
  const Reflection& reflection = *section->GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection.SetInt32(section, field, field->default_value_int32());
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection.SetInt64(section, field, field->default_value_int64());
    case FieldDescriptor::CPPTYPE_UINT64:
      return reflection.SetUInt64(section, field,
                                  field->default_value_uint64());
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection.SetDouble(section, field,
                                  field->default_value_double());
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.SetBool(section, field, field->default_value_bool());
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection.SetEnum(section, field, field->default_value_enum());
    case FieldDescriptor::CPPTYPE_STRING:
      return reflection.SetString(section, field,
                                  field->default_value_string());
    default:
      GOOGLE_LOG(FATAL) << "run.proto uses a type that the configuration "
                           "doesn't know: "
                        << field->full_name();
  }
}

void MakeDefaultsExplicit(RunConfig* config) {
  for (const ConfigField& field : ConfigFields()) {
    if (field.field->is_repeated()) continue;
    const Message& section = SectionOf(*config, field);
    if (section.GetReflection()->HasField(section, field.field)) continue;
    SetToDefault(config, field);
  }
}

std::vector<ConfigField> UnusableFields(const RunConfig& config) {
  std::vector<ConfigField> found;
  for (const ConfigField& field : ConfigFields()) {
    const auto type = field.field->cpp_type();
    const Message& section = SectionOf(config, field);
    if ((type == FieldDescriptor::CPPTYPE_DOUBLE &&
         !std::isfinite(NumberOf(config, field))) ||
        (type == FieldDescriptor::CPPTYPE_STRING &&
         !IsPlainText(
             section.GetReflection()->GetString(section, field.field)))) {
      found.push_back(field);
    }
  }
  return found;
}

std::string AllowedValues(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return "an integer below 2^31";
    case FieldDescriptor::CPPTYPE_INT64:
      return "an integer";
    case FieldDescriptor::CPPTYPE_UINT64:
      return "a non-negative integer";
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return "a finite number";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_ENUM: {
      std::vector<std::string> names;
      for (int i = 0; i < field.enum_type()->value_count(); ++i) {
        names.push_back(field.enum_type()->value(i)->name());
      }
      return absl::StrCat("one of ", absl::StrJoin(names, ", "));
    }
    default:
      return "a UTF-8 string without control characters";
  }
}

std::string NearFields(const std::string& name, const Descriptor& message) {
  std::vector<std::string> names;
  for (int i = 0; i < message.field_count(); ++i) {
    names.push_back(message.field(i)->name());
  }
  const std::string available = "Available: " + absl::StrJoin(names, ", ");
  if (name.size() > kMaxSlipBytes) return available;
  const std::string nearest =
      *std::min_element(names.begin(), names.end(),
                        [&name](const std::string& a, const std::string& b) {
                          return EditDistance(name, a) < EditDistance(name, b);
                        });
  // Two swapped letters are two edits; more than a third of a long name is
  // another word, not a typo.
  const bool is_near =
      EditDistance(name, nearest) <= std::max<size_t>(2, nearest.size() / 3);
  return absl::StrCat(is_near ? "Did you mean " + nearest + "? " : "",
                      available);
}

}  // namespace lextra

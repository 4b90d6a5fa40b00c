#include "config/json.h"

#include <google/protobuf/util/json_util.h>

#include "config/fields.h"
#include "config/load.h"
#include "config/renamed_fields.h"

namespace lextra {
namespace {

using ::google::protobuf::FieldDescriptor;
using Json = nlohmann::ordered_json;

// Protobuf's JSON writes 64-bit integers as text.
Json WithIntegers(const Json& value) {
  if (value.is_string()) return Json::parse(value.get<std::string>());
  Json list = Json::array();
  for (const Json& element : value) list.push_back(WithIntegers(element));
  return list;
}

}  // namespace

Json RunConfigJson(const RunConfig& config) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto status =
      google::protobuf::util::MessageToJsonString(config, &text, options);
  // Fails for a string that is not UTF-8: a path.
  if (!status.ok()) return RunConfigText(config);
  Json json = Json::parse(text);
  for (const ConfigField& field : ConfigFields()) {
    const auto type = field.field->cpp_type();
    const bool is_wide = type == FieldDescriptor::CPPTYPE_INT64 ||
                         type == FieldDescriptor::CPPTYPE_UINT64;
    if (!is_wide || !json.contains(field.section->name())) continue;
    Json& section = json[field.section->name()];
    const auto value = section.find(field.field->name());
    if (value != section.end()) *value = WithIntegers(*value);
  }
  return json;
}

absl::StatusOr<RunConfig> ParseStoredRunConfigJson(const nlohmann::json& json) {
  if (json.is_string()) {
    return ParseStoredRunConfig(json.get<std::string>(), "config");
  }
  RunConfig config;
  const auto status = google::protobuf::util::JsonStringToMessage(
      JsonWithNewNames(json.dump()), &config);
  if (status.ok()) return config;
  return InputError(
      absl::StrCat("its config: ", std::string(status.message()),
                   "; results of a newer lextra need the report command of "
                   "that version"));
}

}  // namespace lextra

// The configuration seen by reflection: its sections, their fields, and values
// as text. Loading, rules and tables name a field "section.field".
#ifndef LEXTRA_CONFIG_FIELDS_H_
#define LEXTRA_CONFIG_FIELDS_H_

#include <google/protobuf/descriptor.h>

#include <string>
#include <vector>

#include "config/run.pb.h"

namespace lextra {

struct ConfigField {
  const google::protobuf::FieldDescriptor* section;
  const google::protobuf::FieldDescriptor* field;

  std::string name() const { return section->name() + "." + field->name(); }
};

// All fields of all sections in declaration order.
const std::vector<ConfigField>& ConfigFields();

// The field of that name; it must exist.
const ConfigField& FieldNamed(const std::string& name);

// The value (the default if none is given) in text format; a list as [a, b].
std::string ValueText(const RunConfig& config, const ConfigField& field);

// The value of a numeric field (not of an unsigned one: seeds have no range).
double NumberOf(const RunConfig& config, const ConfigField& field);

// Sets a field that is not a list to its default.
void SetToDefault(RunConfig* config, const ConfigField& field);

// Sets every section and every field without a value to its default.
void MakeDefaultsExplicit(RunConfig* config);

// The fields, if any, whose value is valid for the type but unusable: a NaN, an
// infinity, a string that is not UTF-8 (JSON can't store it) or has control
// characters (a NUL would end a path early).
std::vector<ConfigField> UnusableFields(const RunConfig& config);

// What a value of `field` may be: "an integer", "one of CPU, CUDA".
std::string AllowedValues(const google::protobuf::FieldDescriptor& field);

// What a misspelled `name` may have meant among the fields of `message`: "Did
// you mean width? Available: num_layers, width, ...".
std::string NearFields(const std::string& name,
                       const google::protobuf::Descriptor& message);

}  // namespace lextra

#endif  // LEXTRA_CONFIG_FIELDS_H_

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

// The value (the default where none is given) as text format writes it; a list
// as [a, b].
std::string ValueText(const RunConfig& config, const ConfigField& field);

// The value of a field that is a number (not an unsigned one: seeds have no
// range).
double NumberOf(const RunConfig& config, const ConfigField& field);

// Gives a field that is no list its default.
void SetToDefault(RunConfig* config, const ConfigField& field);

// Gives every section and every field that has no value its default.
void MakeDefaultsExplicit(RunConfig* config);

// The fields, if any, whose value its type allows but no run can use: a NaN, an
// infinity, a text that is not UTF-8 (JSON can't store it) or has control
// characters (a NUL ends a path early).
std::vector<ConfigField> UnusableFields(const RunConfig& config);

// What a value of `field` may be: "an integer", "one of CPU, CUDA".
std::string AllowedValues(const google::protobuf::FieldDescriptor& field);

// What a misspelt `name` may have meant among the fields of `message`: "Did you
// mean width? Available: num_layers, width, ...".
std::string NearFields(const std::string& name,
                       const google::protobuf::Descriptor& message);

}  // namespace lextra

#endif  // LEXTRA_CONFIG_FIELDS_H_

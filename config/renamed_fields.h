// Names that run.proto has given up. Checkpoints and results store
// configurations as text and load for ever, so what is stored is read with its
// old names; a user's file or override that has one is refused with the new
// name (config/load.h).
#ifndef LEXTRA_CONFIG_RENAMED_FIELDS_H_
#define LEXTRA_CONFIG_RENAMED_FIELDS_H_

#include <google/protobuf/descriptor.h>

#include <optional>
#include <string>

namespace lextra {

// What `section`.`old_name` is called now; nullopt if nothing had that name.
std::optional<std::string> NewFieldName(const std::string& section,
                                        const std::string& old_name);

// What the value `old_name` of an enum is called now.
std::optional<std::string> NewValueName(
    const google::protobuf::EnumDescriptor& type, const std::string& old_name);

// A stored configuration in text format, with the new names; comments are
// dropped, lines stay lines. Text that is no text format is returned as it is.
std::string TextWithNewNames(const std::string& text);

// The same for a stored configuration as a JSON object (config/json.h).
std::string JsonWithNewNames(const std::string& json);

}  // namespace lextra

#endif  // LEXTRA_CONFIG_RENAMED_FIELDS_H_

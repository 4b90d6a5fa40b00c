// Former names in run.proto. Checkpoints and results store configurations as
// text and stay loadable forever, so stored text may use old names; a user's
// file or override that uses one is refused with the new name (config/load.h).
#ifndef LEXTRA_CONFIG_RENAMED_FIELDS_H_
#define LEXTRA_CONFIG_RENAMED_FIELDS_H_

#include <google/protobuf/descriptor.h>

#include <optional>
#include <string>

namespace lextra {

// The new name of `section`.`old_name`; nullopt if nothing had that name.
std::optional<std::string> NewFieldName(const std::string& section,
                                        const std::string& old_name);

// The new name of the value `old_name` of an enum.
std::optional<std::string> NewValueName(
    const google::protobuf::EnumDescriptor& type, const std::string& old_name);

// A stored configuration in text format, with new names; comments are dropped,
// line breaks kept. Text that does not parse is returned unchanged.
std::string TextWithNewNames(const std::string& text);

// The same for a stored configuration as a JSON object (config/json.h).
std::string JsonWithNewNames(const std::string& json);

}  // namespace lextra

#endif  // LEXTRA_CONFIG_RENAMED_FIELDS_H_

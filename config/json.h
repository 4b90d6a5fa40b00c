// A configuration as a JSON object, as results.json has it.
#ifndef LEXTRA_CONFIG_JSON_H_
#define LEXTRA_CONFIG_JSON_H_

#include <nlohmann/json.hpp>
#include <string>

#include "base/status.h"
#include "config/run.pb.h"

namespace lextra {

// Sections of fields by their names; 64-bit integers are numbers. What JSON
// can't hold, a path that is not UTF-8, makes it one string in text format.
nlohmann::ordered_json RunConfigJson(const RunConfig& config);

// Reads it back, fields by names that they have had included
// (config/renamed_fields.h). InputError says what is wrong.
absl::StatusOr<RunConfig> ParseStoredRunConfigJson(const nlohmann::json& json);

}  // namespace lextra

#endif  // LEXTRA_CONFIG_JSON_H_

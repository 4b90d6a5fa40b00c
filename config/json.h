// A configuration as a JSON object, as in results.json.
#ifndef LEXTRA_CONFIG_JSON_H_
#define LEXTRA_CONFIG_JSON_H_

#include <nlohmann/json.hpp>
#include <string>

#include "base/status.h"
#include "config/run.pb.h"

namespace lextra {

// Sections of fields by name; 64-bit integers are numbers. If JSON can't hold
// it (a path that is not UTF-8), one string in text format.
nlohmann::ordered_json RunConfigJson(const RunConfig& config);

// Reads it back, including fields by former names (config/renamed_fields.h).
// InputError says what is wrong.
absl::StatusOr<RunConfig> ParseStoredRunConfigJson(const nlohmann::json& json);

}  // namespace lextra

#endif  // LEXTRA_CONFIG_JSON_H_

// Defaults < file < overrides, with errors that say where: file:line:column or
// the override's text, and what is allowed there.
#ifndef LEXTRA_CONFIG_LOAD_H_
#define LEXTRA_CONFIG_LOAD_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "config/run.pb.h"

namespace lextra {

// Parses text format. `source` names it in errors. Unknown fields, repeated
// singular fields, wrong types and NaN are refused.
absl::StatusOr<RunConfig> ParseRunConfig(const std::string& text,
                                         const std::string& source);

// The same for text stored in a checkpoint or in results, which may use former
// names of fields (config/renamed_fields.h).
absl::StatusOr<RunConfig> ParseStoredRunConfig(const std::string& text,
                                               const std::string& source);

// Applies "section.field=value" by reflection; lists as [a, b]. An override
// given twice for one field is refused. An error leaves `config` as it was.
absl::Status ApplyOverrides(const std::vector<std::string>& overrides,
                            RunConfig* config);

// `path` (a .textproto file, or the bare name of a preset such as "quickstart",
// presets.h; a file of that name wins), then the overrides. Errors are
// UsageErrors, even for an unreadable file.
absl::StatusOr<RunConfig> LoadRunConfig(
    const std::string& path, const std::vector<std::string>& overrides);

// Text format with every field, in declaration order.
std::string RunConfigText(const RunConfig& config);

// An aligned table "section.field  value"; values other than the default are
// marked.
std::string RunConfigTable(const RunConfig& config);

}  // namespace lextra

#endif  // LEXTRA_CONFIG_LOAD_H_

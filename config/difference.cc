#include "config/difference.h"

#include "absl/strings/str_cat.h"
#include "config/fields.h"

namespace lextra {

std::vector<std::string> DifferingFields(const RunConfig& a,
                                         const RunConfig& b) {
  std::vector<std::string> lines;
  for (const ConfigField& field : ConfigFields()) {
    const std::string value_a = ValueText(a, field);
    const std::string value_b = ValueText(b, field);
    if (value_a == value_b) continue;
    lines.push_back(absl::StrCat(field.name(), ": ", value_a, " -> ", value_b));
  }
  return lines;
}

}  // namespace lextra

#include "config/difference.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "config/fields.h"

namespace lextra {

std::vector<std::string> DifferingFields(
    const RunConfig& a, const RunConfig& b,
    std::initializer_list<std::string_view> may_differ) {
  std::vector<std::string> lines;
  for (const ConfigField& field : ConfigFields()) {
    if (std::ranges::any_of(may_differ, [&](std::string_view prefix) {
          return field.name().starts_with(prefix);
        })) {
      continue;
    }
    const std::string value_a = ValueText(a, field);
    const std::string value_b = ValueText(b, field);
    if (value_a == value_b) continue;
    lines.push_back(absl::StrCat(field.name(), ": ", value_a, " -> ", value_b));
  }
  return lines;
}

}  // namespace lextra

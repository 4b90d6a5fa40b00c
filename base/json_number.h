// Numbers in JSON, which has no NaN: non-finite ones are the strings "nan",
// "inf" and "-inf".
#ifndef LEXTRA_BASE_JSON_NUMBER_H_
#define LEXTRA_BASE_JSON_NUMBER_H_

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/number_text.h"

namespace lextra {

inline nlohmann::ordered_json JsonNumber(double value) {
  if (!std::isfinite(value)) return NonFiniteText(value);
  return value;
}

// What JsonNumber wrote; nullopt for anything else.
inline std::optional<double> NumberOfJson(const nlohmann::json& json) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (json.is_number()) return json.get<double>();
  if (json == "inf") return kInfinity;
  if (json == "-inf") return -kInfinity;
  if (json == "nan") return std::numeric_limits<double>::quiet_NaN();
  return std::nullopt;
}

}  // namespace lextra

#endif  // LEXTRA_BASE_JSON_NUMBER_H_

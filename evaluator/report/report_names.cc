#include "evaluator/report/report_names.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "config/position_methods.h"

namespace lextra {
namespace {

// In the order in which a person looks for them; others come last.
constexpr PositionMethod kOrder[] = {XPOS,       ROPE,    ALIBI,
                                     SINUSOIDAL, LEARNED, NONE};
constexpr std::pair<const char*, const char*> kExtensions[] = {
    {"interpolation", "interpolation"}, {"ntk", "NTK"}, {"yarn", "YaRN"}};

template <typename List>
std::string NameIn(const List& list, const std::string& key) {
  for (const auto& [from, to] : list) {
    if (key == from) return to;
  }
  return key;
}

}  // namespace

std::string MethodName(PositionMethod method) {
  return FactsOf(method).report_name;
}

int64_t PlaceOfMethod(const std::string& name) {
  int64_t place = 0;
  for (const PositionMethod method : kOrder) {
    if (name == MethodName(method)) return place;
    ++place;
  }
  return place;
}

std::string MaskNameOf(const nlohmann::json& row, int64_t training_length) {
  const auto kind = row.at("mask").get<std::string>();
  std::string mask = kind == "causal" ? "plain" : kind == "bca" ? "BCA" : kind;
  if (row.contains("block") &&
      2 * row["block"].get<int64_t>() != training_length) {
    absl::StrAppend(&mask, " ", row["block"].get<int64_t>());
  }
  if (row.contains("window")) {
    const std::string sinks =
        row.contains("sinks") ? absl::StrCat(row["sinks"].get<int64_t>(), "+")
                              : "";
    absl::StrAppend(&mask, " ", sinks, row["window"].get<int64_t>());
  }
  if (row.contains("extension")) {
    absl::StrAppend(
        &mask, " + ", NameIn(kExtensions, row["extension"].get<std::string>()),
        row.at("exponent_extended").get<bool>() ? " with exponent" : "");
  }
  return mask;
}

std::pair<int64_t, std::string> OrderOfMask(const std::string& mask) {
  const bool is_extended = mask.find(" + ") != std::string::npos;
  const int64_t kind = mask.starts_with("plain")    ? 0
                       : mask.starts_with("BCA")    ? 1
                       : mask.starts_with("window") ? 2
                                                    : 3;
  return {is_extended ? 10 + kind : kind, mask};
}

}  // namespace lextra

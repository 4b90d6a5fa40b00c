#include "evaluator/report/report_names.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "config/position_methods.h"

namespace lextra {
namespace {

// "interpolation" is the name of linear scaling in older results.
constexpr std::pair<const char*, const char*> kRopeScalings[] = {
    {"interpolation", "linear"}, {"ntk", "NTK"}, {"yarn", "YaRN"}};

// Between a mask and the scaling of angles under it.
constexpr char kScalingMark[] = " + ";

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
  const auto* methods = PositionMethod_descriptor();
  for (int i = 0; i < methods->value_count(); ++i) {
    const PositionMethodFacts& facts =
        FactsOf(static_cast<PositionMethod>(methods->value(i)->number()));
    if (name == facts.report_name) return facts.report_order;
  }
  return methods->value_count();
}

std::string MaskNameOf(const nlohmann::json& row, int64_t training_length) {
  const auto kind = row.at("mask").get<std::string>();
  std::string mask = kind == "bca" ? "BCA" : kind;
  if (row.contains("block") &&
      2 * row["block"].get<int64_t>() != training_length) {
    absl::StrAppend(&mask, " ", row["block"].get<int64_t>());
  }
  if (row.contains("window")) {
    mask = absl::StrCat("window ", row["window"].get<int64_t>());
    if (row.contains("sinks")) {
      absl::StrAppend(&mask, " and ", row["sinks"].get<int64_t>(), " sinks");
    }
  }
  if (row.contains("extension")) {
    absl::StrAppend(
        &mask, kScalingMark,
        NameIn(kRopeScalings, row["extension"].get<std::string>()),
        row.at("exponent_extended").get<bool>() ? " with exponent" : "");
  }
  return mask;
}

std::string UnscaledMask(const std::string& mask) {
  return mask.substr(0, mask.find(kScalingMark));
}

std::pair<int64_t, std::string> OrderOfMask(const std::string& mask) {
  const bool is_scaled = UnscaledMask(mask) != mask;
  const int64_t kind = mask.starts_with("causal")        ? 0
                       : mask.starts_with("BCA")         ? 1
                       : mask.find("sinks") == mask.npos ? 2
                                                         : 3;
  return {is_scaled ? 10 + kind : kind, mask};
}

}  // namespace lextra

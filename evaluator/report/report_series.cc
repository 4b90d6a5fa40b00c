#include "evaluator/report/report_series.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config/fields.h"
#include "config/position_methods.h"

namespace lextra {
namespace {

constexpr std::string_view kNoSettings[] = {"model.init_seed",
                                            "data.shuffle_seed",
                                            "model.position_encoding",
                                            "parallel.",
                                            "checkpoint.",
                                            "logging.",
                                            "data.micro_batch_size",
                                            "optimizer.max_consecutive_skips",
                                            "data.validation",
                                            "evaluation."};

bool IsSetting(const std::string& name) {
  return std::ranges::none_of(kNoSettings, [&](std::string_view prefix) {
    return name.starts_with(prefix);
  });
}

bool Applies(const std::string& name, PositionMethod method) {
  if (name.starts_with("model.xpos_")) return FactsOf(method).has_exponent;
  if (name == "model.rotary_base") return FactsOf(method).rotates;
  return true;
}

// A size derived from another one, as if it were not given (config/resolve.h),
// is not a separate difference.
std::string SettingText(const RunConfig& config, const ConfigField& field) {
  const ModelConfig& model = config.model();
  const std::string name = field.name();
  if (!Applies(name, model.position_encoding())) return "";
  if (name == "model.num_kv_heads" &&
      model.num_kv_heads() == model.num_heads()) {
    return "num_heads";
  }
  if (name == "model.head_dim" &&
      model.head_dim() * model.num_heads() == model.hidden_size()) {
    return "hidden_size / num_heads";
  }
  if (name == "model.ffn_hidden_size" &&
      model.ffn_hidden_size() == 4 * model.hidden_size()) {
    return "4 * hidden_size";
  }
  return ValueText(config, field);
}

}  // namespace

Settings RunSettings(const RunConfig& config, int64_t step,
                     const std::string& tokenizer) {
  Settings settings;
  for (const ConfigField& field : ConfigFields()) {
    const std::string name = field.name();
    if (!IsSetting(name)) continue;
    // "train" alone would not show that it is a data set.
    settings.emplace_back(name == "data.train" ? name : field.field->name(),
                          SettingText(config, field));
  }
  settings.emplace_back("tokenizer", tokenizer);
  settings.emplace_back("step", step == config.schedule().num_steps()
                                    ? "last"
                                    : absl::StrCat(step));
  return settings;
}

Settings TargetSettings(const EvaluationConfig& config,
                        const std::string& protocol) {
  Settings settings = {{"max_tokens", absl::StrCat(config.max_tokens())}};
  const auto& lengths = config.lengths();
  const auto longest = std::max_element(lengths.begin(), lengths.end());
  const bool matters = protocol != "streaming" && longest != lengths.end();
  settings.emplace_back("longest length",
                        matters ? absl::StrCat(*longest) : "");
  return settings;
}

std::vector<std::string> DifferenceTexts(
    const std::vector<MethodSettings>& all) {
  std::vector<std::vector<std::string>> texts(all.size());
  const size_t num_settings = all.empty() ? 0 : all[0].settings.size();
  for (size_t i = 0; i < num_settings; ++i) {
    std::map<std::string, std::set<std::string>> values_of_method;
    std::map<std::string, size_t> counts;
    size_t total = 0;  // that it applies to
    for (const MethodSettings& one : all) {
      const std::string& value = one.settings[i].second;
      if (value.empty()) continue;
      values_of_method[one.method].insert(value);
      ++counts[value];
      ++total;
    }
    for (size_t k = 0; k < all.size(); ++k) {
      const auto& [name, value] = all[k].settings[i];
      if (value.empty()) continue;
      const bool is_usual = 2 * counts[value] > total;
      if (is_usual && values_of_method[all[k].method].size() == 1) continue;
      texts[k].push_back(absl::StrCat(name, " ", value));
    }
  }
  std::vector<std::string> joined;
  for (const auto& text : texts) joined.push_back(absl::StrJoin(text, ", "));
  return joined;
}

std::string LabelText(const std::string& method,
                      const std::string& differences) {
  return differences.empty() ? method : absl::StrCat(method, ", ", differences);
}

bool AgreeWhereBothApply(const Settings& a, const Settings& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& one, const auto& other) {
                      return one.second.empty() || other.second.empty() ||
                             one.second == other.second;
                    });
}

}  // namespace lextra

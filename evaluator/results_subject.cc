#include "evaluator/results_subject.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/io/files.h"
#include "config/difference.h"
#include "config/json.h"

namespace lextra {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxBytes = int64_t{1} << 30;
constexpr char kAdvice[] =
    "choose another --results_dir, or remove the file to rescore";

absl::Status Refuse(const std::string& path, const std::string& what) {
  return UsageError(absl::StrCat(path, ": ", what, "; ", kAdvice));
}

// "evaluation.lengths: [32] -> [64]", ..; empty if the results are the same.
absl::StatusOr<std::string> Differences(const Json& stored,
                                        const EvaluationConfig& evaluation) {
  LEXTRA_ASSIGN_OR_RETURN(const RunConfig there,
                          ParseStoredRunConfigJson({{"evaluation", stored}}));
  RunConfig here;
  *here.mutable_evaluation() = evaluation;
  return absl::StrJoin(
      DifferingFields(
          there, here,
          {"evaluation.segment_tokens", "evaluation.validation_interval_steps",
           "evaluation.validation_samples", "evaluation.validation_tokens"}),
      "; ");
}

}  // namespace

absl::Status CheckSubjectOfResults(const std::string& folder,
                                   const std::string& subject,
                                   const EvaluationConfig& evaluation) {
  const std::string path = folder + "/results.json";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return absl::OkStatus();
  LEXTRA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxBytes));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto holds = [](const Json& object, const char* key) {
    return object.is_object() && object.contains(key);
  };
  if (!holds(json, "subject") || !json["subject"].is_string() ||
      !holds(json, "config") || !holds(json["config"], "evaluation")) {
    return Refuse(path, "does not name its checkpoint and data");
  }
  const auto stored = json["subject"].get<std::string>();
  if (stored != subject) {
    return Refuse(path, absl::StrCat("holds results of ", stored,
                                     ", but this evaluation is of ", subject));
  }
  const absl::StatusOr<std::string> differences =
      Differences(json["config"]["evaluation"], evaluation);
  if (!differences.ok()) {
    return Refuse(path,
                  absl::StrCat("holds results of a different evaluation (",
                               differences.status().message(), ")"));
  }
  if (differences->empty()) return absl::OkStatus();
  return Refuse(path, absl::StrCat("holds results of a different evaluation (",
                                   *differences, ")"));
}

}  // namespace lextra

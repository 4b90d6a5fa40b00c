// Which results of a report belong to one line: those that differ in the seeds
// of their runs alone.
//
// The settings of a run are the fields of its configuration on which its
// numbers depend, the step of its checkpoint and its tokenizer. No settings are
//   model.init_seed, data.shuffle_seed       the seeds
//   model.position_encoding                           the method, named by
//   itself parallel.*, checkpoint.*, logging.*, data.micro_batch_size,
//   optimizer.max_consecutive_skips           where and how it ran
//   data.validation                          compared by what it holds
//   evaluation.*                             rows say these (TargetSettings)
// and a field that the method does not use (model.xpos_* of RoPE) has no value.
// data.train is a setting by the name that it was given, and the step counts as
// "last" where it is schedule.num_steps.
//
// Equal settings are not enough for a row: the longest of evaluation.lengths
// and evaluation.max_tokens decide which targets it scored (protocol.h).
#ifndef LEXTRA_EVALUATOR_REPORT_REPORT_SERIES_H_
#define LEXTRA_EVALUATOR_REPORT_REPORT_SERIES_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "config/run.pb.h"

namespace lextra {

// Name and value as text; an empty value does not apply. All settings of one
// kind have the same names in the same order.
using Settings = std::vector<std::pair<std::string, std::string>>;

Settings RunSettings(const RunConfig& config, int64_t step,
                     const std::string& tokenizer);
// Those that decide which targets a row of this protocol ("streaming", ..)
// scores, beside its length and stride.
Settings TargetSettings(const EvaluationConfig& config,
                        const std::string& protocol);

// Settings of a method: what a label is made of.
struct MethodSettings {
  std::string method;
  Settings settings;

  friend auto operator<=>(const MethodSettings&,
                          const MethodSettings&) = default;
};

// For each of these (all different): what it differs in from the others, as
// "hidden_size 64, learning_rate 0.0003". That is every setting that takes
// several values with its method, or of which most of all have another value. A
// method alone is no difference, so the text may be empty.
std::vector<std::string> DifferenceTexts(
    const std::vector<MethodSettings>& all);

// "xPos, hidden_size 64": the method and its differences.
std::string LabelText(const std::string& method,
                      const std::string& differences);

// Whether a comparison of two methods is one of methods: every setting that
// applies to both has one value.
bool AgreeWhereBothApply(const Settings& a, const Settings& b);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_REPORT_REPORT_SERIES_H_

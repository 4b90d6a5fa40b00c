// Which results of a report belong to one line: those of runs that differ only
// in their seeds.
//
// The settings of a run are the fields of its configuration on which its
// numbers depend, the step of its checkpoint and its tokenizer. Not settings:
//   model.init_seed, data.shuffle_seed  the seeds
//   model.position_encoding             the method, named separately
//   parallel.*, checkpoint.*, logging.*, data.micro_batch_size,
//   optimizer.max_consecutive_skips     where and how it ran
//   data.validation                     compared by content
//   evaluation.*                        part of the rows (TargetSettings)
// A field that the method does not use (model.xpos_* of RoPE) has no value.
// data.train is a setting by its given name, and the step counts as "last" if
// it is schedule.num_steps.
//
// Equal settings are not enough for a row: the longest of evaluation.lengths
// and evaluation.max_tokens determine which targets it scored (protocol.h).
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
// Those that, besides length and stride, determine which targets a row of this
// protocol ("streaming", ..) scores.
Settings TargetSettings(const EvaluationConfig& config,
                        const std::string& protocol);

// A method and its settings, from which its label is made.
struct MethodSettings {
  std::string method;
  Settings settings;

  friend auto operator<=>(const MethodSettings&,
                          const MethodSettings&) = default;
};

// For each of these (all different): how it differs from the others, as
// "hidden_size 64, learning_rate 0.0003". That is every setting that takes
// several values for its method, or for which most others have another value.
// The method itself is not a difference, so the text may be empty.
std::vector<std::string> DifferenceTexts(
    const std::vector<MethodSettings>& all);

// "xPos, hidden_size 64": the method and its differences.
std::string LabelText(const std::string& method,
                      const std::string& differences);

// Whether two runs differ only in their method: every setting that applies to
// both has the same value.
bool AgreeWhereBothApply(const Settings& a, const Settings& b);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_REPORT_REPORT_SERIES_H_

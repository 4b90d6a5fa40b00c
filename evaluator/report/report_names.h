// Names of methods and masks in a report, and their order.
#ifndef LEXTRA_EVALUATOR_REPORT_REPORT_NAMES_H_
#define LEXTRA_EVALUATOR_REPORT_REPORT_NAMES_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>

#include "config/run.pb.h"

namespace lextra {

// "xPos".
std::string MethodName(PositionMethod method);
int64_t PlaceOfMethod(const std::string& name);

// "causal", "BCA", "window 96", "causal + YaRN": of a row of results.json.
// Block sizes of BCA are named if they are not half the training length.
std::string MaskNameOf(const nlohmann::json& row, int64_t training_length);
// The mask alone: "causal" of "causal + YaRN".
std::string UnscaledMask(const std::string& name);
// Causal first, then other masks, then those with RoPE scaling.
std::pair<int64_t, std::string> OrderOfMask(const std::string& name);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_REPORT_REPORT_NAMES_H_

// The subject of results: checkpoint, data, precision and evaluation settings.
// Results of one subject never replace another's.
#ifndef LEXTRA_EVALUATOR_RESULTS_SUBJECT_H_
#define LEXTRA_EVALUATOR_RESULTS_SUBJECT_H_

#include <string>

#include "base/status.h"
#include "config/run.pb.h"

namespace lextra {

// OK if `folder` has no results.json, or one of the same `subject` (as in
// ResultsContext) and the same `evaluation`, except for fields that change no
// result. Otherwise a UsageError that names what it holds.
absl::Status CheckSubjectOfResults(const std::string& folder,
                                   const std::string& subject,
                                   const EvaluationConfig& evaluation);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_RESULTS_SUBJECT_H_

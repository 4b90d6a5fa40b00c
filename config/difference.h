// What two configurations differ in: for resumed runs, and for people.
#ifndef LEXTRA_CONFIG_DIFFERENCE_H_
#define LEXTRA_CONFIG_DIFFERENCE_H_

#include <string>
#include <vector>

#include "config/run.pb.h"

namespace lextra {

// One line "section.field: a -> b" for each field whose value differs, in
// declaration order. A field without a value counts as its default.
std::vector<std::string> DifferingFields(const RunConfig& a,
                                         const RunConfig& b);

}  // namespace lextra

#endif  // LEXTRA_CONFIG_DIFFERENCE_H_

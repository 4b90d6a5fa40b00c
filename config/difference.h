// Differences between two configurations: for resumed runs, and for people.
#ifndef LEXTRA_CONFIG_DIFFERENCE_H_
#define LEXTRA_CONFIG_DIFFERENCE_H_

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "config/run.pb.h"

namespace lextra {

// One line "section.field: a -> b" for each field whose value differs, in
// declaration order. A field without a value counts as its default. Fields
// whose names begin with one of `may_differ` are ignored.
std::vector<std::string> DifferingFields(
    const RunConfig& a, const RunConfig& b,
    std::initializer_list<std::string_view> may_differ = {});

}  // namespace lextra

#endif  // LEXTRA_CONFIG_DIFFERENCE_H_

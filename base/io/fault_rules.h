// Parsed rules of LEXTRA_FAULTS (system_calls.h documents the language).
#ifndef LEXTRA_BASE_IO_FAULT_RULES_H_
#define LEXTRA_BASE_IO_FAULT_RULES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/string_view.h"

namespace lextra::sys {

// What a rule does to a call; kNothing if no rule applies.
enum class Effect { kNothing, kFail, kShort, kFlip, kDelay, kKill };

struct NamedEffect {
  const char* name;
  Effect effect;
  int error;  // errno, of kFail
  double seconds = 0;
};

struct FaultRule {
  std::string operation;
  int64_t first = 0;
  int64_t last = 0;
  NamedEffect effect = {};
  std::string path;
  std::optional<int> rank;
  int64_t num_matches = 0;  // calls matched so far

  // By operation, path (either of two) and this process's rank.
  bool Matches(std::string_view of_call, std::string_view path_of_call,
               std::string_view other_path) const;
};

// Exits with ExitCode::kUsage on an invalid rule.
std::vector<FaultRule> ParseFaultRulesOrDie(absl::string_view text);

}  // namespace lextra::sys

#endif  // LEXTRA_BASE_IO_FAULT_RULES_H_

#include "base/io/fault_rules.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/log.h"
#include "base/status.h"

namespace lextra::sys {
namespace {

constexpr const char* kOperations[] = {
    "*",      "open",   "read",  "write", "truncate", "fsync",   "close",
    "rename", "unlink", "rmdir", "mkdir", "list",     "statvfs", "thread"};

constexpr NamedEffect kEffects[] = {
    {"EIO", Effect::kFail, EIO},       {"ENOSPC", Effect::kFail, ENOSPC},
    {"EDQUOT", Effect::kFail, EDQUOT}, {"ESTALE", Effect::kFail, ESTALE},
    {"EINTR", Effect::kFail, EINTR},   {"EROFS", Effect::kFail, EROFS},
    {"EAGAIN", Effect::kFail, EAGAIN}, {"short", Effect::kShort, 0},
    {"flip", Effect::kFlip, 0},        {"kill", Effect::kKill, 0}};

// "3", "3-5" or "3-".
bool ParseCalls(absl::string_view text, FaultRule& rule) {
  const std::pair<std::string, std::string> ends =
      absl::StrSplit(text, absl::MaxSplits('-', 1));
  if (!absl::SimpleAtoi(ends.first, &rule.first)) return false;
  if (!ends.second.empty()) {
    if (!absl::SimpleAtoi(ends.second, &rule.last)) return false;
  } else {
    rule.last = absl::StrContains(text, "-")
                    ? std::numeric_limits<int64_t>::max()
                    : rule.first;
  }
  return 1 <= rule.first && rule.first <= rule.last;
}

bool ParseEffect(absl::string_view text, FaultRule& rule) {
  if (absl::ConsumePrefix(&text, "delay=")) {
    rule.effect = {"delay", Effect::kDelay, 0};
    return absl::SimpleAtod(text, &rule.effect.seconds) &&
           rule.effect.seconds > 0 && std::isfinite(rule.effect.seconds);
  }
  for (const NamedEffect& effect : kEffects) {
    if (text == effect.name) rule.effect = effect;
  }
  return rule.effect.effect != Effect::kNothing;
}

bool ParseFilter(absl::string_view text, FaultRule& rule) {
  if (absl::ConsumePrefix(&text, "path=")) {
    rule.path = std::string(text);
    return !text.empty();
  }
  int rank = 0;
  if (!absl::ConsumePrefix(&text, "rank=") || !absl::SimpleAtoi(text, &rank)) {
    return false;
  }
  rule.rank = rank;
  return rank >= 0;
}

absl::StatusOr<FaultRule> ParseRule(absl::string_view text) {
  const auto refuse = [&](absl::string_view what, absl::string_view expected) {
    return UsageError(absl::StrFormat("fault rule '%s': %s, expected %s", text,
                                      what, expected));
  };
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  if (parts.size() < 3) {
    return refuse("too few parts", "OPERATION:FIRST[-LAST]:EFFECT");
  }
  FaultRule rule;
  rule.operation = std::string(parts[0]);
  const bool is_kill_point = rule.operation.size() > 1 && parts[0][0] == '@';
  if (!is_kill_point && std::count(std::begin(kOperations),
                                   std::end(kOperations), parts[0]) == 0) {
    return refuse("unknown operation",
                  absl::StrJoin(kOperations, " ") + " or @NAME");
  }
  if (!ParseCalls(parts[1], rule)) {
    return refuse("bad call numbers", "N, N-M or N-, counted from 1");
  }
  if (!ParseEffect(parts[2], rule)) {
    return refuse("unknown effect",
                  "EIO ENOSPC EDQUOT ESTALE EINTR EROFS EAGAIN short flip "
                  "delay=SECONDS or kill");
  }
  for (size_t i = 3; i < parts.size(); ++i) {
    if (!ParseFilter(parts[i], rule)) {
      return refuse("bad filter", "path=TEXT or rank=R");
    }
  }
  const bool is_of_points = rule.effect.effect == Effect::kKill ||
                            rule.effect.effect == Effect::kDelay;
  if (is_kill_point && (!is_of_points || !rule.path.empty())) {
    return refuse("a kill point can only kill or delay and has no path",
                  "@NAME:N:kill[:rank=R] or @NAME:N:delay=S[:rank=R]");
  }
  return rule;
}

}  // namespace

bool FaultRule::Matches(std::string_view of_call, std::string_view path_of_call,
                        std::string_view other_path) const {
  if (operation != of_call && (operation != "*" || of_call[0] == '@')) {
    return false;
  }
  if (rank.has_value() && *rank != LogRank()) return false;
  return path_of_call.find(path) != std::string_view::npos ||
         other_path.find(path) != std::string_view::npos;
}

std::vector<FaultRule> ParseFaultRulesOrDie(absl::string_view text) {
  std::vector<FaultRule> rules;
  for (absl::string_view part : absl::StrSplit(text, ';', absl::SkipEmpty())) {
    absl::StatusOr<FaultRule> rule = ParseRule(part);
    if (!rule.ok()) {
      LogError(std::string(rule.status().message()));
      std::_Exit(static_cast<int>(ExitCode::kUsage));
    }
    rules.push_back(*std::move(rule));
  }
  return rules;
}

}  // namespace lextra::sys

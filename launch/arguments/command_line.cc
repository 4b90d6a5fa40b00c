#include "launch/arguments/command_line.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/log.h"

namespace lextra {
namespace {

// Between two lines of a flag's help: below the column where it begins.
constexpr char kNextLine[] = "\n                             ";

}  // namespace

CommandLine::CommandLine(std::string usage, std::string description)
    : usage_(std::move(usage)), description_(std::move(description)) {}

void CommandLine::AddFlag(
    std::string name,
    std::variant<std::string*, bool*, int64_t*, std::vector<std::string>*>
        target,
    std::string help) {
  flags_.push_back({std::move(name), target, std::move(help)});
}

absl::Status CommandLine::Set(Flag* flag, const std::string& value) {
  if (auto* list = std::get_if<std::vector<std::string>*>(&flag->target)) {
    (*list)->push_back(value);
    return absl::OkStatus();
  }
  if (std::exchange(flag->given, true)) {
    return UsageError(absl::StrCat("duplicate flag --", flag->name));
  }
  if (auto* text = std::get_if<std::string*>(&flag->target)) {
    **text = value;
    return absl::OkStatus();
  }
  if (auto* number = std::get_if<int64_t*>(&flag->target)) {
    if (absl::SimpleAtoi(value, *number) && **number >= 0) {
      return absl::OkStatus();
    }
    return UsageError(absl::StrCat("flag --", flag->name, "=", value,
                                   ": expected a non-negative integer"));
  }
  bool* truth = std::get<bool*>(flag->target);
  if (absl::SimpleAtob(value, truth)) return absl::OkStatus();
  return UsageError(absl::StrCat("flag --", flag->name, "=", value,
                                 ": expected true or false"));
}

absl::Status CommandLine::Parse(const std::vector<std::string>& arguments) {
  bool flags_ended = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (flags_ended || argument.rfind("--", 0) != 0) {
      rest_.push_back(argument);
      continue;
    }
    if (argument == "--") {
      flags_ended = true;
      continue;
    }
    if (argument == "--help") {
      help_wanted_ = true;
      continue;
    }
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(2, equals - 2);
    const auto flag = std::find_if(
        flags_.begin(), flags_.end(),
        [&name](const Flag& candidate) { return candidate.name == name; });
    if (flag == flags_.end()) {
      std::vector<std::string> names;
      for (const Flag& known : flags_) names.push_back("--" + known.name);
      return UsageError(absl::StrCat("unknown flag --", name, " (available: ",
                                     absl::StrJoin(names, " "), " --help)"));
    }
    if (equals != std::string::npos) {
      LEXTRA_RETURN_IF_ERROR(Set(&*flag, argument.substr(equals + 1)));
    } else if (std::holds_alternative<bool*>(flag->target)) {
      LEXTRA_RETURN_IF_ERROR(Set(&*flag, "true"));
    } else if (i + 1 < arguments.size()) {
      LEXTRA_RETURN_IF_ERROR(Set(&*flag, arguments[++i]));
    } else {
      return UsageError(absl::StrCat("flag --", name, " needs a value"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> CommandLine::ParseOrHelp(
    const std::vector<std::string>& arguments) {
  LEXTRA_RETURN_IF_ERROR(Parse(arguments));
  if (help_wanted_) PrintResult(Help());
  return help_wanted_;
}

std::string CommandLine::Help() const {
  std::string text =
      absl::StrCat("usage: lextra ", usage_, "\n\n", description_, "\n");
  if (!flags_.empty()) text += "\nflags:\n";
  for (const Flag& flag : flags_) {
    std::string left = "--" + flag.name;
    std::string standard;
    if (auto* value = std::get_if<std::string*>(&flag.target)) {
      left += "=TEXT";
      if (!(*value)->empty()) standard = **value;
    } else if (auto* number = std::get_if<int64_t*>(&flag.target)) {
      left += "=NUMBER";
      standard = absl::StrCat(**number);
    } else if (std::holds_alternative<std::vector<std::string>*>(flag.target)) {
      left += "=TEXT ...";
    }
    absl::StrAppendFormat(&text, "  %-26s %s", left,
                          absl::StrReplaceAll(flag.help, {{"\n", kNextLine}}));
    if (!standard.empty()) absl::StrAppend(&text, " [", standard, "]");
    text += "\n";
  }
  return text;
}

absl::Status CheckOutputPrefix(const std::string& output,
                               const std::string& example) {
  if (!output.empty() && !output.ends_with('/')) return absl::OkStatus();
  return UsageError("--output=" + output +
                    ": expected a file name prefix, as in --output=" + example);
}

}  // namespace lextra

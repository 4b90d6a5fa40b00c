// The command line of one subcommand: --name=value flags with a help text each,
// and the rest (overrides, files) in order. A flag that is unknown, a duplicate
// or of the wrong type is a UsageError that says what is expected.
#ifndef LEXTRA_LAUNCH_ARGUMENTS_COMMAND_LINE_H_
#define LEXTRA_LAUNCH_ARGUMENTS_COMMAND_LINE_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/status.h"

namespace lextra {

class CommandLine {
 public:
  // `usage` follows "lextra" in the help's first line; `description` is a
  // paragraph below it.
  CommandLine(std::string usage, std::string description);

  // `target` holds the default and receives the value. A number is 0 or more.
  // A bool flag needs no =value. A list flag may be repeated. `help` may have
  // several lines.
  void AddFlag(
      std::string name,
      std::variant<std::string*, bool*, int64_t*, std::vector<std::string>*>
          target,
      std::string help);

  // Sets the targets and keeps the rest. Flags may precede or follow it; "--"
  // ends them.
  absl::Status Parse(const std::vector<std::string>& arguments);

  // The same, or the help is printed if --help was given: then true.
  absl::StatusOr<bool> ParseOrHelp(const std::vector<std::string>& arguments);

  bool help_wanted() const { return help_wanted_; }  // --help was given
  std::string Help() const;
  const std::vector<std::string>& rest() const { return rest_; }

 private:
  struct Flag {
    std::string name;
    std::variant<std::string*, bool*, int64_t*, std::vector<std::string>*>
        target;
    std::string help;
    bool given = false;
  };

  absl::Status Set(Flag* flag, const std::string& value);

  std::string usage_;
  std::string description_;
  std::vector<Flag> flags_;
  std::vector<std::string> rest_;
  bool help_wanted_ = false;
};

// UsageError unless `output`, the flag --output, is a prefix for the files of a
// token data set, as `example` is.
absl::Status CheckOutputPrefix(const std::string& output,
                               const std::string& example);

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_ARGUMENTS_COMMAND_LINE_H_

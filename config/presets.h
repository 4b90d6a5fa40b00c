// The presets of config/presets/, built into the program so that a bare name
// works wherever the program is copied to.
#ifndef LEXTRA_CONFIG_PRESETS_H_
#define LEXTRA_CONFIG_PRESETS_H_

#include <string>
#include <vector>

namespace lextra {

struct Preset {
  std::string name;  // the file's, without .textproto
  std::string text;
};

// By name.
const std::vector<Preset>& Presets();

}  // namespace lextra

#endif  // LEXTRA_CONFIG_PRESETS_H_

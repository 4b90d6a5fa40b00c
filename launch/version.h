// The versions of everything that this program was built with and runs on.
#ifndef LEXTRA_LAUNCH_VERSION_H_
#define LEXTRA_LAUNCH_VERSION_H_

#include <string>

namespace lextra {

// "lextra 0.1.0 (commit ..)".
std::string ProgramName();

// One line: "lextra 0.1.0 (commit ..), LibTorch .., Open MPI .., ..".
std::string VersionLine();

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_VERSION_H_

// The host that this process runs on.
#ifndef LEXTRA_BASE_HOST_H_
#define LEXTRA_BASE_HOST_H_

#include <string>

namespace lextra {

// Its name, as gethostname gives it.
std::string HostName();

}  // namespace lextra

#endif  // LEXTRA_BASE_HOST_H_

#include "base/io/random_id.h"

#include <random>

#include "absl/strings/str_format.h"

namespace lextra {

std::string DrawId(int num_words) {
  std::random_device source;
  std::string id;
  for (int i = 0; i < num_words; ++i) {
    absl::StrAppendFormat(&id, "%08x", source());
  }
  return id;
}

}  // namespace lextra

// Names that no other process draws, on this host or another. Of the system's
// random numbers: no seed of a run changes them.
#ifndef LEXTRA_BASE_IO_RANDOM_ID_H_
#define LEXTRA_BASE_IO_RANDOM_ID_H_

#include <string>

namespace lextra {

// `num_words` times eight hexadecimal digits, lower case.
std::string DrawId(int num_words);

}  // namespace lextra

#endif  // LEXTRA_BASE_IO_RANDOM_ID_H_

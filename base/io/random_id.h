// Names that are unique across processes and hosts. They come from the system's
// random numbers and don't depend on the seeds of a run.
#ifndef LEXTRA_BASE_IO_RANDOM_ID_H_
#define LEXTRA_BASE_IO_RANDOM_ID_H_

#include <string>

namespace lextra {

// `num_words` times eight hexadecimal digits, lower case.
std::string DrawId(int num_words);

}  // namespace lextra

#endif  // LEXTRA_BASE_IO_RANDOM_ID_H_

// Checked MPI calls. No rank can continue after an MPI error: it is logged with
// rank, host, source line, expression and MPI's message, and all ranks end.
#ifndef LEXTRA_PARALLEL_MPI_MPI_CHECK_H_
#define LEXTRA_PARALLEL_MPI_MPI_CHECK_H_

namespace lextra {

// `error` is MPI's error code; 0 is success (MPI 3.1, section 8.4).
void CheckMpi(int error, const char* expression, const char* file, int line);

}  // namespace lextra

#define LEXTRA_CHECK_MPI(expression) \
  ::lextra::CheckMpi((expression), #expression, __FILE__, __LINE__)

#endif  // LEXTRA_PARALLEL_MPI_MPI_CHECK_H_

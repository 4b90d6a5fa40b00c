// What the programs of this folder have in common: how they start, the same
// work for every contender of a comparison, and taking turns.
#ifndef LEXTRA_TESTS_BENCHMARKS_BENCHMARK_PROGRAM_H_
#define LEXTRA_TESTS_BENCHMARKS_BENCHMARK_PROGRAM_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/resolve.h"
#include "launch/arguments/command_line.h"
#include "model/transformer.h"
#include "parallel/mpi/mpi_session.h"

namespace lextra {

// A whole program: MPI, `line` from the arguments, `run`, an orderly end. What
// fails is one line on stderr, and ends all ranks. Returns the exit code.
int BenchmarkMain(int argc, char** argv, CommandLine& line,
                  const std::function<absl::Status(MpiSession& mpi)>& run);

// The effective configuration: the defaults, which are those of the 2.7M case,
// with the overrides. parallel.num_threads is put into force.
absl::StatusOr<RunConfig> BenchmarkConfig(
    const std::vector<std::string>& overrides, Purpose purpose,
    const MpiSession& mpi);

// The token ids of places first, first + 1, ... into `tokens` int64 [n], the
// same as peers/contender.py makes.
void FillTokens(int64_t first, int64_t vocab_size, const at::Tensor& tokens);

// Matrices whose values depend on name and place alone, the same as
// peers/contender.py makes: so all contenders must come to the same result.
void FillWeights(Transformer& model, Communicator& tensor_axis);

// What one piece of work came to; compare.py compares "result".
using Figures = std::map<std::string, double>;

// Serves compare.py on rank 0's stdin until it says "quit" or closes it: for a
// line "run N" all ranks work N times, and the answer is one line with the
// milliseconds of each and the figures of the last:
//   ms 512.113 511.870 result 5.76921
// Between the lines no rank uses a processor. Collective.
void TakeTurns(const MpiSession& mpi, const std::function<Figures()>& work);

}  // namespace lextra

#endif  // LEXTRA_TESTS_BENCHMARKS_BENCHMARK_PROGRAM_H_

#include "tests/benchmarks/benchmark_program.h"

#include <ATen/ATen.h>
#include <mpi.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>
#include <thread>

#include "absl/strings/str_format.h"
#include "base/failure.h"
#include "base/log.h"
#include "config/load.h"
#include "launch/session_setup.h"

namespace lextra {
namespace {

constexpr std::chrono::milliseconds kPollEvery(2);

absl::Status Run(int argc, char** argv, CommandLine& line,
                 const std::function<absl::Status(MpiSession& mpi)>& run) {
  LEXTRA_ASSIGN_OR_RETURN(const std::unique_ptr<MpiSession> mpi,
                          MpiSession::Start(&argc, &argv));
  LEXTRA_RETURN_IF_ERROR(
      line.Parse(std::vector<std::string>(argv + 1, argv + argc)));
  if (line.help_wanted()) {
    PrintResult(line.Help());
  } else {
    LEXTRA_RETURN_IF_ERROR(run(*mpi));
  }
  mpi->Finalize();
  return absl::OkStatus();
}

// Without pattern enough for a model, and exact in every language.
at::Tensor Scrambled(const at::Tensor& index) {
  return (index * index * 31 + index * 7919).remainder(10007);
}

// N of the next "run N" on stdin, 0 at the end.
int64_t ReadTurn() {
  std::string word;
  int64_t count = 0;
  return std::cin >> word && word == "run" && std::cin >> count ? count : 0;
}

// The same on all ranks. MPI's own waiting would keep a processor busy.
int64_t NextTurn(const MpiSession& mpi) {
  int64_t count = mpi.rank() == 0 ? ReadTurn() : 0;
  MPI_Request request;
  MPI_Ibcast(&count, 1, MPI_INT64_T, 0, MPI_COMM_WORLD, &request);
  int done = 0;
  while (MPI_Test(&request, &done, MPI_STATUS_IGNORE), done == 0) {
    std::this_thread::sleep_for(kPollEvery);
  }
  return count;
}

}  // namespace

int BenchmarkMain(int argc, char** argv, CommandLine& line,
                  const std::function<absl::Status(MpiSession& mpi)>& run) {
  try {
    const absl::Status status = Run(argc, argv, line, run);
    if (status.ok()) return 0;
    AbortAllRanks(ExitCodeOf(status), std::string(status.message()));
  } catch (const c10::Error& error) {
    AbortAllRanks(ExitCode::kCommunication, error.what_without_backtrace());
  } catch (const std::exception& error) {
    AbortAllRanks(ExitCode::kCommunication, error.what());
  }
}

absl::StatusOr<RunConfig> BenchmarkConfig(
    const std::vector<std::string>& overrides, Purpose purpose,
    const MpiSession& mpi) {
  RunConfig config;
  config.mutable_model()->set_vocab_size(320);
  config.mutable_model()->set_pad_vocab_to_multiple_of(64);
  config.mutable_data()->set_train("random tokens");
  LEXTRA_RETURN_IF_ERROR(ApplyOverrides(overrides, &config));
  LEXTRA_RETURN_IF_ERROR(Resolve(&config, purpose, mpi.size()));
  LEXTRA_RETURN_IF_ERROR(SetUpThreads(mpi, config.parallel()));
  return config;
}

void FillTokens(int64_t first, int64_t vocab_size, const at::Tensor& tokens) {
  const at::Tensor places =
      at::arange(first, first + tokens.numel(), at::kLong);
  tokens.copy_(Scrambled(places).remainder(vocab_size));
}

void FillWeights(Transformer& model, Communicator& tensor_axis) {
  for (Parameter* parameter : model.parameters()) {
    for (const ShardedTensor& shard : parameter->Shards(
             parameter->leaf, {.tensor_rank = tensor_axis.rank(),
                              .num_tensor = tensor_axis.size()})) {
      if (shard.global_shape.size() != 2) continue;
      int64_t sum_of_letters = 0;
      for (const char letter : shard.name) sum_of_letters += letter;
      const auto range = [&](int dim) {
        return at::arange(shard.box.offset[dim],
                          shard.box.offset[dim] + shard.box.shape[dim],
                          at::kLong);
      };
      const at::Tensor index = range(0).unsqueeze(1) * shard.global_shape[1] +
                               range(1) + sum_of_letters;
      shard.tensor.copy_((Scrambled(index).to(at::kDouble) / 10007 - 0.5) / 5);
    }
  }
}

void TakeTurns(const MpiSession& mpi, const std::function<Figures()>& work) {
  using Clock = std::chrono::steady_clock;
  while (const int64_t count = NextTurn(mpi)) {
    std::string answer = "ms";
    Figures figures;
    for (int64_t i = 0; i < count; ++i) {
      MPI_Barrier(MPI_COMM_WORLD);
      const Clock::time_point begin = Clock::now();
      figures = work();
      MPI_Barrier(MPI_COMM_WORLD);
      const std::chrono::duration<double, std::milli> time =
          Clock::now() - begin;
      absl::StrAppendFormat(&answer, " %.4f", time.count());
    }
    for (const auto& [name, value] : figures) {
      absl::StrAppendFormat(&answer, " %s %.9g", name, value);
    }
    PrintResult(answer + "\n");
  }
}

}  // namespace lextra

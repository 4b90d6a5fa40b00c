// A contender of compare.py: training steps of a model, by a rank or by all
// ranks of mpirun. The configuration is `lextra train`'s:
//
//   lextra_train_speed model.position_encoding=NONE parallel.num_threads=2
#include <ATen/ATen.h>

#include "launch/session_setup.h"
#include "tests/benchmarks/benchmark_program.h"
#include "trainer/train_step.h"

namespace lextra {
namespace {

constexpr int64_t kNumBatches = 8;
constexpr double kLearningRate = 1e-3;

// This rank's share of each of the batches that take turns.
std::vector<at::Tensor> Batches(const RunConfig& config,
                                const Communicator& data_axis) {
  const int64_t length = config.model().training_length() + 1;
  const int64_t share = config.data().global_batch_size() / data_axis.size();
  std::vector<at::Tensor> batches;
  for (int64_t i = 0; i < kNumBatches; ++i) {
    const at::Tensor all =
        at::empty({config.data().global_batch_size(), length}, at::kLong);
    FillTokens(i * all.numel(), config.model().vocab_size(), all.view(-1));
    batches.push_back(
        all.narrow(0, data_axis.rank() * share, share).contiguous());
  }
  return batches;
}

absl::Status Run(MpiSession& mpi, const std::vector<std::string>& overrides) {
  LEXTRA_ASSIGN_OR_RETURN(const RunConfig config,
                          BenchmarkConfig(overrides, Purpose::kTrain, mpi));
  LEXTRA_ASSIGN_OR_RETURN(const std::unique_ptr<DeviceMesh> mesh,
                          MakeMesh(mpi, config.parallel()));
  Transformer model(config.model(), mesh->tensor());
  FillWeights(model, mesh->tensor());
  TrainStep step(config, *mesh, model);
  const std::vector<at::Tensor> batches = Batches(config, mesh->data());
  int64_t num_steps = 0;
  TakeTurns(mpi, [&]() -> Figures {
    const at::Tensor& tokens = batches[num_steps++ % kNumBatches];
    return {{"result", step.Run(tokens, kLearningRate).loss}};
  });
  return mesh->Finalize();
}

}  // namespace
}  // namespace lextra

int main(int argc, char** argv) {
  lextra::CommandLine line("_train_speed [section.field=value ...]",
                           "Training steps, in turns with compare.py.");
  return lextra::BenchmarkMain(argc, argv, line, [&](lextra::MpiSession& mpi) {
    return lextra::Run(mpi, line.rest());
  });
}

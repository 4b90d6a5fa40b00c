// Times training steps on random tokens, the counterpart of
// peers/training_speed.py: prints `step_ms <median> <min> <max>`. compare.sh
// runs the two in turns. Under mpirun the ranks are data-parallel, or
// tensor-parallel with --tensor.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "base/log.h"
#include "config/load.h"
#include "config/resolve.h"
#include "launch/command_line.h"
#include "parallel/mpi_session.h"
#include "trainer/train_step.h"

namespace lextra {
namespace {

constexpr int64_t kWarmUpSteps = 3;

struct Options {
  int64_t layers = 6, width = 192, heads = 6, length = 256, batch = 16;
  int64_t vocabulary = 320, threads = 2, steps = 20, tensor = 1;
};

RunConfig MakeConfig(const Options& options) {
  RunConfig config;
  ModelConfig* model = config.mutable_model();
  model->set_num_layers(static_cast<int32_t>(options.layers));
  model->set_width(static_cast<int32_t>(options.width));
  model->set_num_heads(static_cast<int32_t>(options.heads));
  model->set_training_length(static_cast<int32_t>(options.length));
  model->set_vocab_size(static_cast<int32_t>(options.vocabulary));
  model->set_vocab_multiple(64);
  config.mutable_data()->set_global_batch(static_cast<int32_t>(options.batch));
  config.mutable_parallel()->set_tensor(static_cast<int32_t>(options.tensor));
  config.mutable_data()->set_train("random tokens");
  return config;
}

absl::Status Run(int argc, char** argv) {
  LEXTRA_ASSIGN_OR_RETURN(const std::unique_ptr<MpiSession> mpi,
                          MpiSession::Start(&argc, &argv));
  Options options;
  CommandLine line("_train_speed", "Times training steps on random tokens.");
  line.AddFlag("layers", &options.layers, "");
  line.AddFlag("width", &options.width, "");
  line.AddFlag("heads", &options.heads, "");
  line.AddFlag("length", &options.length, "tokens in a sample");
  line.AddFlag("batch", &options.batch, "samples of all ranks");
  line.AddFlag("vocabulary", &options.vocabulary, "");
  line.AddFlag("threads", &options.threads, "of a rank");
  line.AddFlag("steps", &options.steps, "timed steps");
  line.AddFlag("tensor", &options.tensor, "tensor-parallel ranks");
  LEXTRA_RETURN_IF_ERROR(
      line.Parse(std::vector<std::string>(argv + 1, argv + argc)));

  at::set_num_threads(static_cast<int>(options.threads));
  RunConfig config = MakeConfig(options);
  LEXTRA_RETURN_IF_ERROR(Resolve(&config, Purpose::kTrain, mpi->size()));
  LEXTRA_ASSIGN_OR_RETURN(
      const std::unique_ptr<DeviceMesh> mesh,
      DeviceMesh::Create(mpi->World(), {.data = config.parallel().data(),
                                        .tensor = config.parallel().tensor()}));
  Transformer model(config.model(), mesh->tensor());
  TrainStep step(config, *mesh, model);
  std::vector<double> times;
  for (int64_t i = 0; i < options.steps + kWarmUpSteps; ++i) {
    const at::Tensor tokens = at::randint(
        options.vocabulary,
        {options.batch / mesh->data().size(), options.length + 1}, at::kLong);
    const auto begin = std::chrono::steady_clock::now();
    step.Run(tokens, 1e-3);
    times.push_back(std::chrono::duration<double, std::milli>(
                        std::chrono::steady_clock::now() - begin)
                        .count());
  }
  times.erase(times.begin(), times.begin() + kWarmUpSteps);
  std::sort(times.begin(), times.end());
  PrintResult(absl::StrFormat("step_ms %.3f %.3f %.3f\n",
                              times[times.size() / 2], times.front(),
                              times.back()));
  mpi->Finalize();
  return absl::OkStatus();
}

}  // namespace
}  // namespace lextra

int main(int argc, char** argv) {
  const absl::Status status = lextra::Run(argc, argv);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return static_cast<int>(lextra::ExitCodeOf(status));
}

// A contender of compare.py: the matrix products of a model's step alone, as
// plain calls with outputs that are used again. What it reaches is the ceiling
// of all contenders.
//
//   lextra_gemm_ceiling model.hidden_size=384 parallel.num_threads=2
//   [--forward]
#include <ATen/ATen.h>

#include "config/model_facts.h"
#include "tests/benchmarks/benchmark_program.h"

namespace lextra {
namespace {

// y = x W^T of N tokens, and its two products backward.
class Products {
 public:
  Products(int64_t num_tokens, int64_t in, int64_t out)
      : x_(at::randn({num_tokens, in})),
        weight_(at::randn({out, in})),
        y_(at::randn({num_tokens, out})),
        dx_(at::empty({num_tokens, in})),
        dweight_(at::empty({out, in})) {}

  void Forward() { at::mm_out(y_, x_, weight_.t()); }
  void Backward() {
    at::mm_out(dx_, y_, weight_);
    at::mm_out(dweight_, y_.t(), x_);
  }

 private:
  at::Tensor x_, weight_, y_, dx_, dweight_;
};

absl::Status Run(MpiSession& mpi, const std::vector<std::string>& overrides,
                 int64_t num_tokens, bool forward) {
  LEXTRA_ASSIGN_OR_RETURN(const RunConfig config,
                          BenchmarkConfig(overrides, Purpose::kTrain, mpi));
  const ModelConfig& model = config.model();
  const int64_t width = model.hidden_size();
  const int64_t packed =
      (model.num_heads() + 2 * model.num_kv_heads()) * model.head_dim();
  // Layers have their own memory, as in a step.
  std::vector<Products> products;
  for (int64_t layer = 0; layer < model.num_layers(); ++layer) {
    products.emplace_back(num_tokens, width, packed);
    products.emplace_back(num_tokens, width, width);
    products.emplace_back(num_tokens, width, model.ffn_hidden_size());
    products.emplace_back(num_tokens, model.ffn_hidden_size(), width);
  }
  products.emplace_back(num_tokens, width, PaddedVocab(model));
  TakeTurns(mpi, [&]() -> Figures {
    for (Products& product : products) product.Forward();
    if (forward) return {};
    for (auto it = products.rbegin(); it != products.rend(); ++it) {
      it->Backward();
    }
    return {};
  });
  return absl::OkStatus();
}

}  // namespace
}  // namespace lextra

int main(int argc, char** argv) {
  int64_t num_tokens = 4096;
  bool forward = false;
  lextra::CommandLine line("_gemm_ceiling [section.field=value ...]",
                           "The products of a step, in turns with compare.py.");
  line.AddFlag("tokens", &num_tokens, "of the step");
  line.AddFlag("forward", &forward, "without the products backward");
  return lextra::BenchmarkMain(argc, argv, line, [&](lextra::MpiSession& mpi) {
    return lextra::Run(mpi, line.rest(), num_tokens, forward);
  });
}

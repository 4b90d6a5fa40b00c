// A contender of compare.py: passes over one long document as `lextra evaluate`
// scores it, by a rank or by all ranks of mpirun. The configuration is
// `lextra evaluate`'s:
//
//   lextra_score_speed --tokens=16384 [--mask=CAUSAL] parallel.num_threads=2
#include <ATen/ATen.h>

#include "evaluator/scoring/long_document_scorer.h"
#include "launch/session_setup.h"
#include "tests/benchmarks/benchmark_program.h"

namespace lextra {
namespace {

struct Options {
  int64_t tokens = 16384;
  std::string mask = "BCA";
};

absl::Status Run(MpiSession& mpi, const Options& options,
                 const std::vector<std::string>& overrides) {
  LEXTRA_ASSIGN_OR_RETURN(const RunConfig config,
                          BenchmarkConfig(overrides, Purpose::kEvaluate, mpi));
  Mask kind = BCA;
  if (!Mask_Parse(options.mask, &kind)) {
    return UsageError("--mask=" + options.mask + ": expected BCA or CAUSAL");
  }
  const LongDocumentScorer::Options how = {
      .mask = MaskOf(kind, config.evaluation()),
      .segment_tokens = config.evaluation().segment_tokens()};
  LEXTRA_ASSIGN_OR_RETURN(const std::unique_ptr<DeviceMesh> mesh,
                          MakeMesh(mpi, config.parallel()));
  Transformer model(config.model(), mesh->tensor());
  FillWeights(model, mesh->tensor());
  LongDocumentScorer scorer(model, *mesh, how);
  TakeTurns(mpi, [&]() -> Figures {
    const int64_t sent_before = mesh->context().bytes_sent();
    double sum = 0;
    scorer.Score(
        1, options.tokens + 1,
        [&](int64_t begin, const at::Tensor& tokens_BT) {
          FillTokens(begin, config.model().vocab_size(), tokens_BT[0]);
        },
        [&](int64_t, const at::Tensor& nll_BT) {
          sum += nll_BT.sum().item<double>();
        });
    return {{"result", sum / static_cast<double>(options.tokens)},
            {"bytes_sent", mesh->context().bytes_sent() - sent_before}};
  });
  return mesh->Finalize();
}

}  // namespace
}  // namespace lextra

int main(int argc, char** argv) {
  lextra::Options options;
  lextra::CommandLine line("_score_speed [section.field=value ...]",
                           "Passes over a document, in turns with compare.py.");
  line.AddFlag("tokens", &options.tokens, "targets of the document");
  line.AddFlag("mask", &options.mask, "BCA or CAUSAL");
  return lextra::BenchmarkMain(argc, argv, line, [&](lextra::MpiSession& mpi) {
    return lextra::Run(mpi, options, line.rest());
  });
}

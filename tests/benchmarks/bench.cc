// What each part of Lextra reaches by itself, with the sizes of the cases of
// compare.py, as FLOP, bytes (that must be read or written) or tokens a second:
//
//   lextra_bench --threads=2 [--benchmark_filter=attention ...]
//   mpirun -np 2 lextra_bench --threads=1      MPI's collectives
//
// "with gradient" is forward and backward together.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <benchmark/benchmark.h>

#include "base/hash/crc32c.h"
#include "data/samples/batch_schedule.h"
#include "data/samples/packed_samples.h"
#include "data/token_file_writer.h"
#include "model/feed_forward.h"
#include "model/initialization.h"
#include "model/norm.h"
#include "model/parameter_shapes.h"
#include "model/position/position_encoding.h"
#include "ops/attention_part.h"
#include "ops/matmul.h"
#include "parallel/data_parallel/flat_parameters.h"
#include "tests/benchmarks/benchmark_program.h"
#include "tests/testing/temporary_folder.h"
#include "trainer/optimizer/adamw.h"
#include "trainer/optimizer/gradient_norm.h"

namespace lextra {
namespace {

using Work = std::function<void()>;

constexpr char kFlop[] = "FLOP";
constexpr char kBytes[] = "B";

// `amount` of the unit in one call of what `prepare` returns.
benchmark::internal::Benchmark* Add(const std::string& name, const char* unit,
                                    double amount,
                                    const std::function<Work()>& prepare) {
  return benchmark::RegisterBenchmark(
             name.c_str(),
             [=](benchmark::State& state) {
               const Work work = prepare();
               work();  // first use of memory
               for ([[maybe_unused]] auto _ : state) work();
               state.counters[unit] = benchmark::Counter(
                   amount, benchmark::Counter::kIsIterationInvariantRate);
             })
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
}

// The models of train_2.7m and train_14.3m.
struct Size {
  std::string name;
  int64_t batch;
  ModelConfig model;

  int64_t length() const { return model.training_length(); }
  int64_t tokens() const { return batch * length(); }
  int64_t hidden_size() const { return model.hidden_size(); }
  double bytes() const {
    return 4.0 * tokens() * hidden_size();
  }  // of x [N, C]
};

absl::StatusOr<Size> MakeSize(const std::string& name, int64_t batch,
                              const std::vector<std::string>& overrides,
                              const MpiSession& mpi) {
  LEXTRA_ASSIGN_OR_RETURN(const RunConfig config,
                          BenchmarkConfig(overrides, Purpose::kTrain, mpi));
  return Size{name, batch, config.model()};
}

void AddProducts(const Size& size) {
  const auto add = [&](const std::string& name, int64_t m, int64_t k, int64_t n,
                       bool a_transposed, bool b_transposed) {
    // LibTorch's BLAS, and ours.
    for (const bool own : {false, true}) {
      Add(absl::StrFormat("%s %s/%d x %d x %d", own ? "product" : "gemm", name,
                          m, k, n),
          kFlop, 2.0 * m * k * n, [=]() -> Work {
            const at::Tensor a =
                a_transposed ? at::randn({k, m}).t() : at::randn({m, k});
            const at::Tensor b =
                b_transposed ? at::randn({n, k}).t() : at::randn({k, n});
            at::Tensor out = at::empty({m, n});
            if (own) return [=] { Matmul(out, a, b); };
            return [=]() mutable { at::mm_out(out, a, b); };
          });
    }
  };
  const int64_t c = size.hidden_size();
  const std::pair<int64_t, int64_t> shapes[] = {
      {c, 3 * c}, {c, c}, {c, 4 * c}, {4 * c, c}, {c, 320}};
  for (const auto& [in, out] : shapes) {
    add("forward", size.tokens(), in, out, false, true);
    add("dX", size.tokens(), out, in, false, false);
    add("dW", out, size.tokens(), in, true, false);
  }
}

struct Heads {
  at::Tensor qkv_BTED;
  int64_t h;

  at::Tensor q() const { return qkv_BTED.narrow(2, 0, h); }
  at::Tensor k() const { return qkv_BTED.narrow(2, h, h); }
  at::Tensor v() const { return qkv_BTED.narrow(2, 2 * h, h); }
};

void AddAttentionPart(const std::string& name, int64_t batch, int64_t length,
                      const ModelConfig& model, bool causal) {
  const int64_t h = model.num_heads();
  const int64_t d = model.head_dim();
  const auto random_heads = [=] {
    return Heads{at::randn({batch, length, 3 * h, d}), h};
  };
  const double product =
      2.0 * batch * h * length * length * d / (causal ? 2 : 1);
  Add("attention " + name + "/forward", kFlop, 2 * product, [=]() -> Work {
    const Heads heads = random_heads();
    return [=] { Attend(heads.q(), heads.k(), heads.v(), causal, {}); };
  });
  Add("attention " + name + "/backward", kFlop, 5 * product, [=]() -> Work {
    const Heads heads = random_heads();
    const Heads gradients = random_heads();
    const AttentionPart part =
        Attend(heads.q(), heads.k(), heads.v(), causal, {});
    const at::Tensor dout = at::randn_like(part.out_BTHD);
    return [=] {
      AttendBackward(dout, heads.q(), heads.k(), heads.v(), part, causal, {},
                     gradients.q(), gradients.k(), gradients.v(),
                     /*accumulate=*/false);
    };
  });
}

void AddAttention(const Size& size) {
  const int64_t block = size.length() / 2;
  AddAttentionPart("causal " + size.name, size.batch, size.length(), size.model,
                   /*causal=*/true);
  AddAttentionPart("own block " + size.name, 2 * size.batch, block, size.model,
                   /*causal=*/true);
  AddAttentionPart("previous block " + size.name, 2 * size.batch, block,
                   size.model, /*causal=*/false);
  Add("xpos/" + size.name, kBytes, 2 * size.bytes(), [=]() -> Work {
    const std::shared_ptr<PositionEncoding> positions =
        MakePositionEncoding(size.model, size.length() / 2);
    const at::Tensor q =
        at::randn({size.batch, size.length(), size.model.num_heads(),
                   size.model.head_dim()});
    const at::Tensor out = at::empty_like(q);
    return [=] { positions->Rotate(AttentionRole::kQuery, q, out, 0); };
  });
}

at::Tensor Leaf(const at::Tensor& values) {
  return values.clone().set_requires_grad(true);
}

// layer(x), with its gradient if x wants one.
template <typename Layer>
void AddLayer(const std::string& name, const char* unit, double forward,
              double with_gradient, const Size& size,
              const std::function<std::shared_ptr<Layer>()>& make,
              const std::function<at::Tensor(Layer&, const at::Tensor&)>& run) {
  const auto random = [=] {
    return at::randn({size.tokens(), size.hidden_size()});
  };
  Add(name + "/forward", unit, forward, [=]() -> Work {
    return [run, layer = make(), x = random()] {
      const at::NoGradGuard no_gradients;
      run(*layer, x);
    };
  });
  Add(name + "/with gradient", unit, with_gradient, [=]() -> Work {
    return [run, layer = make(), x = Leaf(random())] {
      const at::Tensor y = run(*layer, x);
      y.backward(at::ones_like(y));
      x.mutable_grad().reset();
    };
  });
}

void AddLayers(const Size& size, Communicator& axis) {
  const ModelConfig& model = size.model;
  const Initializer initialize = MakeInitializer(model, at::kCPU);
  // x, the branch, their sum and its norm are equally large.
  AddLayer<NormLayer>(
      "residual and norm " + size.name, kBytes, 4 * size.bytes(),
      8 * size.bytes(), size,
      [=] {
        return std::make_shared<NormLayer>(LAYER_NORM, "norm",
                                           model.hidden_size(), 1e-5, true,
                                           nullptr, initialize);
      },
      [branch = at::randn({size.tokens(), size.hidden_size()})](
          NormLayer& norm, const at::Tensor& x) {
        return norm(x, branch).normalized;
      });
  const double product =
      2.0 * size.tokens() * 8 * size.hidden_size() * size.hidden_size();
  AddLayer<FeedForward>(
      "feed forward " + size.name, kFlop, product, 3 * product, size,
      [=, &axis] {
        return std::make_shared<FeedForward>(model, "ffn", axis, initialize);
      },
      [](FeedForward& layer, const at::Tensor& x) { return layer(x); });
  const double wide = 4.0 * size.bytes();
  Add("gelu " + size.name + "/forward", kBytes, 2 * wide, [=]() -> Work {
    const at::Tensor x = at::randn({size.tokens(), 4 * size.hidden_size()});
    at::Tensor out = at::empty_like(x);
    return [=]() mutable { at::gelu_out(out, x); };
  });
}

// The tied output projection and its loss.
struct Output {
  Output(Communicator& axis, int64_t vocab, const Size& size)
      : rows(axis, "embed_tokens", vocab, size.hidden_size(),
             MakeInitializer(size.model, at::kCPU)),
        loss(axis, rows, vocab) {}
  VocabParallelEmbedding rows;
  VocabParallelCrossEntropy loss;
};

void AddLoss(const Size& size, int64_t vocab, int64_t tokens,
             Communicator& axis) {
  const std::string name =
      absl::StrFormat("cross entropy %s, %d ids", size.name, vocab);
  const double product = 2.0 * tokens * size.hidden_size() * vocab;
  const auto random = [=] { return at::randn({tokens, size.hidden_size()}); };
  const auto targets = [=] { return at::randint(vocab, {tokens}, at::kLong); };
  const auto output = [=, &axis] {
    return std::make_shared<Output>(axis, vocab, size);
  };
  Add(name + "/nll", kFlop, product, [=]() -> Work {
    return [output = output(), x = random(), targets = targets()] {
      output->loss.Nll(x, targets);
    };
  });
  Add(name + "/loss with gradient", kFlop, 3 * product, [=]() -> Work {
    return [output = output(), x = Leaf(random()), targets = targets()] {
      output->loss.Loss(x, targets, 1.0).backward();
      x.mutable_grad().reset();
    };
  });
}

struct Update {
  Update(const Size& size, Communicator& axis)
      : model(size.model, axis),
        parameters(model.parameters()),
        optimizer(parameters, OptimizerConfig()) {
    parameters.gradients().normal_();
  }
  Transformer model;
  FlatParameters parameters;
  AdamW optimizer;
};

void AddUpdate(const Size& size, Communicator& axis) {
  const double bytes = 4.0 * NumParameters(size.model);
  const auto make = [=, &axis] { return std::make_shared<Update>(size, axis); };
  Add("adamw/" + size.name, kBytes, 7 * bytes, [=]() -> Work {
    return [update = make(), divisor = at::ones({1}), skip = at::zeros({1})] {
      update->optimizer.Step(1e-3, divisor, skip);
    };
  });
  Add("gradient norm/" + size.name, kBytes, bytes, [=]() -> Work {
    return [update = make()] { SumOfSquares(update->parameters.gradients()); };
  });
}

void AddChecksums() {
  using Checksum = uint32_t (*)(std::span<const std::byte>, uint32_t);
  const auto add = [](const std::string& name, Checksum checksum) {
    const int64_t size = int64_t{4} << 20;
    Add(name, kBytes, size, [=]() -> Work {
      const std::vector<std::byte> bytes(size, std::byte{0x5a});
      return [=] { benchmark::DoNotOptimize(checksum(bytes, 0)); };
    });
  };
  add("crc32c", Crc32c);
  add("crc32c/table", PortableCrc32c);
}

// Documents of 2000 tokens, 4 million in all.
absl::Status WriteDataset(const std::string& prefix) {
  DatasetMeta meta;
  meta.tokenizer = "byte";
  meta.vocab_size = 257;
  meta.eos_id = 256;
  LEXTRA_ASSIGN_OR_RETURN(const std::unique_ptr<TokenFileWriter> writer,
                          TokenFileWriter::Create(prefix, meta));
  const std::vector<int32_t> document(2000, 'a');
  for (int i = 0; i < 2000; ++i) {
    LEXTRA_RETURN_IF_ERROR(writer->Append(document));
    LEXTRA_RETURN_IF_ERROR(writer->EndDocument(2000));
  }
  TokenFileWriter* const writers[] = {writer.get()};
  return TokenFileWriter::Commit(writers);
}

void AddBatches(const Size& size, const TokenDataset& dataset) {
  Add("read batches/" + size.name, "tokens", size.tokens(),
      [&dataset, size]() -> Work {
        const auto samples = std::make_shared<PackedSamples>(
            PackedSamples::Create(dataset, size.length(), 1).value());
        const BatchSchedule schedule(1, samples->num_samples(), size.batch);
        std::vector<int64_t> out(size.length() + 1);
        return [=, step = int64_t{0}]() mutable {
          for (const int64_t sample : schedule.GlobalBatch(step++)) {
            TORCH_CHECK(samples->Read(sample, std::span(out)).ok());
          }
        };
      });
}

void AddCollectives(Communicator& world) {
  const int64_t n = world.size();
  for (const int64_t megabytes : {1, 4, 40}) {
    const int64_t count = megabytes * 250'000 / n * n;
    const auto add = [&](const std::string& name, const auto& collective) {
      Add(absl::StrFormat("%s/%d MB", name, megabytes), kBytes, 4 * count,
          [=]() -> Work {
            return [collective, whole = at::ones({count}),
                    part = at::ones({count / n})] { collective(whole, part); };
          })
          ->Iterations(50);  // the same on all ranks
    };
    add("all-reduce", [&world](const at::Tensor& whole, const at::Tensor&) {
      world.AllReduce(whole, ReduceOp::kAverage);
    });
    add("reduce-scatter",
        [&world](const at::Tensor& whole, const at::Tensor& part) {
          world.ReduceScatter(part, whole, ReduceOp::kAverage);
        });
    add("all-gather",
        [&world](const at::Tensor& whole, const at::Tensor& part) {
          world.AllGather(whole, part);
        });
  }
}

class NoReporter : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>&) override {}
};

absl::Status Run(MpiSession& mpi, int64_t threads) {
  const std::unique_ptr<Communicator> world = mpi.World();
  if (mpi.size() > 1) {
    at::set_num_threads(static_cast<int>(threads));
    AddCollectives(*world);
    NoReporter silence;
    if (mpi.rank() == 0) {
      benchmark::RunSpecifiedBenchmarks();
    } else {
      benchmark::RunSpecifiedBenchmarks(&silence);
    }
    return absl::OkStatus();
  }
  LEXTRA_ASSIGN_OR_RETURN(const Size small, MakeSize("2.7M", 16, {}, mpi));
  LEXTRA_ASSIGN_OR_RETURN(
      const Size large, MakeSize("14.3M", 8,
                                 {"model.num_layers=8", "model.hidden_size=384",
                                  "model.training_length=512"},
                                 mpi));
  at::set_num_threads(static_cast<int>(threads));
  const testing::TemporaryFolder folder;
  LEXTRA_RETURN_IF_ERROR(WriteDataset(folder / "tokens"));
  LEXTRA_ASSIGN_OR_RETURN(const TokenDataset dataset,
                          TokenDataset::Open(folder / "tokens"));
  for (const Size& size : {small, large}) {
    AddProducts(size);
    AddAttention(size);
    AddLayers(size, *world);
    AddLoss(size, 320, size.tokens(), *world);
    AddUpdate(size, *world);
    AddBatches(size, dataset);
  }
  AddLoss(large, 32000, 1024, *world);
  AddChecksums();
  benchmark::RunSpecifiedBenchmarks();
  return absl::OkStatus();
}

}  // namespace
}  // namespace lextra

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  int64_t threads = 2;
  lextra::CommandLine line("_bench [--benchmark_filter=REGEX ...]",
                           "What each part reaches by itself.");
  line.AddFlag("threads", &threads, "of a rank");
  return lextra::BenchmarkMain(argc, argv, line, [&](lextra::MpiSession& mpi) {
    return lextra::Run(mpi, threads);
  });
}

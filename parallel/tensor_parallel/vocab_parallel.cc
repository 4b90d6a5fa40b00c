// VocabParallelEmbedding and VocabParallelCrossEntropy.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "ops/matmul.h"
#include "parallel/tensor_parallel/chunked_softmax.h"
#include "parallel/tensor_parallel/conjugate_collectives.h"
#include "parallel/tensor_parallel/local_ids.h"
#include "parallel/tensor_parallel/sharded_layers.h"

namespace lextra {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// This rank's rows of the embedding; zeros for tokens whose rows other ranks
// hold.
class Embedding : public torch::autograd::Function<Embedding> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& tokens,
                            const at::Tensor& weight, int64_t first_row,
                            bool has_all_rows) {
    context->saved_data["first_row"] = first_row;
    context->saved_data["has_all_rows"] = has_all_rows;
    context->save_for_backward({tokens, weight});
    if (has_all_rows) return at::embedding(weight, tokens);
    const LocalIds ids(tokens, first_row, weight.size(0));
    return at::embedding(weight, ids.place)
        .masked_fill_(ids.outside.unsqueeze(-1), 0);
  }

  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor tokens = saved[0].reshape({-1});
    const at::Tensor& weight = saved[1];
    const at::Tensor dx = gradients[0].reshape({-1, weight.size(1)});
    if (context->saved_data["has_all_rows"].toBool()) {
      IndexAddRows(GradientOf(weight), tokens, dx);
    } else {
      const LocalIds ids(tokens, context->saved_data["first_row"].toInt(),
                         weight.size(0));
      IndexAddRows(GradientOf(weight), ids.place,
                   dx.masked_fill(ids.outside.unsqueeze(-1), 0));
    }
    return {at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

// Passes the gradients computed with the loss to autograd: dx [N, C], and dE
// [v, C] of the first v rows of E.
class PrecomputedLoss : public torch::autograd::Function<PrecomputedLoss> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& /*x*/,
                            const at::Tensor& weight, const at::Tensor& loss,
                            const at::Tensor& dx, const at::Tensor& dweight) {
    context->save_for_backward({weight, dx, dweight});
    return loss.clone();
  }

  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    RECORD_USER_SCOPE("loss: gradient");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& weight = saved[0];
    const at::Tensor& dx = saved[1];
    const at::Tensor& dweight = saved[2];
    const at::Tensor factor = gradients[0].to(dweight.scalar_type());
    if (context->needs_input_grad(1)) {
      GradientOf(weight)
          .narrow(0, 0, dweight.size(0))
          .addcmul_(dweight, factor);
    }
    return {dx * factor, at::Tensor(), at::Tensor(), at::Tensor(),
            at::Tensor()};
  }
};

at::Tensor Sum(const at::Tensor& nll_N, double scale) {
  return nll_N.sum(at::kDouble).mul_(scale).to(nll_N.scalar_type());
}

}  // namespace

VocabParallelEmbedding::VocabParallelEmbedding(Communicator& tensor_axis,
                                               const std::string& name,
                                               int64_t padded_vocab,
                                               int64_t width,
                                               const Initializer& initialize)
    : tensor_axis_(tensor_axis) {
  TORCH_CHECK(padded_vocab % tensor_axis.size() == 0, name,
              ": a vocabulary of ", padded_vocab,
              " does not divide evenly among ", tensor_axis.size(),
              " tensor ranks");
  const int64_t rows = padded_vocab / tensor_axis.size();
  weight_ =
      MakeParameter({{.name = name + ".weight",
                      .global_shape = {padded_vocab, width},
                      .box = {{rows * tensor_axis.rank(), 0}, {rows, width}}}},
                    /*weight_decay=*/true, /*tensor_sharded=*/true, initialize);
}

at::Tensor VocabParallelEmbedding::operator()(const at::Tensor& ids,
                                              ActivationLayout layout) {
  CheckIds(ids, weight_.pieces[0].global_shape[0], "tokens");
  return ReduceFromAxis(
      Embedding::apply(ids, weight_.leaf, first_row(),
                       /*has_all_rows=*/tensor_axis_.size() == 1),
      tensor_axis_, layout);
}

std::vector<Parameter*> VocabParallelEmbedding::parameters() {
  return {&weight_};
}

VocabParallelCrossEntropy::VocabParallelCrossEntropy(
    Communicator& tensor_axis, VocabParallelEmbedding& output,
    int64_t vocab_size, int64_t tokens_per_chunk)
    : tensor_axis_(tensor_axis),
      output_(output),
      vocab_size_(vocab_size),
      tokens_per_chunk_(tokens_per_chunk) {
  TORCH_CHECK(vocab_size > 0 && tokens_per_chunk > 0, "vocabulary of ",
              vocab_size, ", chunks of ", tokens_per_chunk, " tokens");
}

at::Tensor VocabParallelCrossEntropy::Loss(const at::Tensor& x,
                                           const at::Tensor& targets_N,
                                           double scale,
                                           ActivationLayout layout) {
  RECORD_USER_SCOPE("loss: cross entropy");
  const at::Tensor& weight = output_.rows();
  CheckHidden(x, weight);
  const at::Tensor x_NC = layout == ActivationLayout::kSplit
                              ? StartGather(x.detach(), tensor_axis_).Wait()
                              : x;
  if (!at::GradMode::is_enabled() ||
      !(x.requires_grad() || weight.requires_grad())) {
    return Sum(Nll(x_NC, targets_N), scale);
  }
  at::Tensor loss;
  at::Tensor dx;
  at::Tensor dweight_vC;
  {
    const at::NoGradGuard by_hand;
    ChunkedSoftmax softmax(tensor_axis_, output_, vocab_size_,
                           std::min(tokens_per_chunk_, x_NC.size(0)),
                           /*by_kernels=*/x_NC.is_cuda());
    const at::Tensor dx_NC = at::empty_like(x_NC, at::MemoryFormat::Contiguous);
    const at::Tensor& rows_vC = softmax.rows_vC();
    dweight_vC =
        at::zeros(rows_vC.sizes(),
                  x_NC.options().dtype(StatisticsType(x_NC.scalar_type())));
    const at::Tensor nll_N = softmax.ForEachChunk(
        x_NC, targets_N, [&](int64_t begin, const at::Tensor& x_nC) {
          const at::Tensor dscores_nv = softmax.ScoreGradient(scale);
          at::Tensor dx_nC = dx_NC.narrow(0, begin, x_nC.size(0));
          if (rows_vC.scalar_type() == dx_nC.scalar_type()) {
            Matmul(dx_nC, dscores_nv, rows_vC);
          } else {
            dx_nC.copy_(at::mm(dscores_nv, rows_vC));
          }
          MatmulAccumulate(dweight_vC, dscores_nv.t(), x_nC);
        });
    if (layout == ActivationLayout::kSplit) {
      dx = StartReduceScatter(dx_NC, tensor_axis_).Wait();
    } else {
      tensor_axis_.AllReduce(dx_NC, ReduceOp::kSum);
      dx = dx_NC;
    }
    loss = Sum(nll_N, scale);
  }
  return PrecomputedLoss::apply(x, weight, loss, dx, dweight_vC);
}

at::Tensor VocabParallelCrossEntropy::Nll(const at::Tensor& x_NC,
                                          const at::Tensor& targets_N) {
  const at::NoGradGuard no_gradients;
  CheckHidden(x_NC, output_.rows());
  ChunkedSoftmax softmax(tensor_axis_, output_, vocab_size_,
                         std::min(tokens_per_chunk_, x_NC.size(0)),
                         /*by_kernels=*/x_NC.is_cuda());
  return softmax.ForEachChunk(x_NC, targets_N,
                              [](int64_t, const at::Tensor&) {});
}

at::Tensor VocabParallelCrossEntropy::Logits(const at::Tensor& x_NC) {
  const at::NoGradGuard no_gradients;
  const at::Tensor& rows_VC = output_.rows();
  CheckHidden(x_NC, rows_VC);
  at::Tensor logits =
      at::empty({x_NC.size(0), rows_VC.size(0)},
                x_NC.options().dtype(StatisticsType(x_NC.scalar_type())));
  Matmul(logits, x_NC, rows_VC.t());
  if (tensor_axis_.size() > 1) {
    const at::Tensor all =
        at::empty({tensor_axis_.size(), logits.size(0), logits.size(1)},
                  logits.options());
    tensor_axis_.AllGather(all, logits);
    logits = all.permute({1, 0, 2}).reshape({x_NC.size(0), -1});
  }
  return logits.narrow(1, 0, vocab_size_);
}

}  // namespace lextra

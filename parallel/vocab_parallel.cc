// VocabParallelEmbedding and VocabParallelCrossEntropy.
// n: tokens of one chunk, v: the rows of E that this rank scores.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <limits>

#include "parallel/conjugate_collectives.h"
#include "parallel/sharded_layers.h"

namespace lextra {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// On a GPU the check would wait for the device; the data set checks its ids
// when they are read.
void CheckIds(const at::Tensor& ids, int64_t limit, const char* what) {
  TORCH_CHECK(ids.scalar_type() == at::kLong, what, " are ", ids.scalar_type(),
              ", not int64");
  if (!ids.is_cpu() || ids.numel() == 0) return;
  const auto [smallest, largest] = at::aminmax(ids);
  TORCH_CHECK(smallest.item<int64_t>() >= 0 && largest.item<int64_t>() < limit,
              what, " from ", smallest.item<int64_t>(), " to ",
              largest.item<int64_t>(), " in a vocabulary of ", limit);
}

void CheckHidden(const at::Tensor& x_NC, const at::Tensor& rows_VC) {
  TORCH_CHECK(x_NC.dim() == 2 && x_NC.size(1) == rows_VC.size(1) &&
                  x_NC.scalar_type() == rows_VC.scalar_type(),
              "hidden states ", x_NC.scalar_type(), " ", x_NC.sizes(),
              " with an output matrix ", rows_VC.scalar_type(), " ",
              rows_VC.sizes());
}

// Which of the ids are rows [first, first + count), and their place there.
struct LocalIds {
  LocalIds(const at::Tensor& ids, int64_t first, int64_t count)
      : place(ids - first) {
    outside = (place < 0).logical_or_(place >= count);
    place.masked_fill_(outside, 0);
  }

  at::Tensor place;    // int64; 0 where outside
  at::Tensor outside;  // bool
};

// This rank's rows of the embedding; zeros for tokens whose rows others hold.
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
      GradientOf(weight).index_add_(0, tokens, dx);
    } else {
      const LocalIds ids(tokens, context->saved_data["first_row"].toInt(),
                         weight.size(0));
      GradientOf(weight).index_add_(
          0, ids.place, dx.masked_fill(ids.outside.unsqueeze(-1), 0));
    }
    return {at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

// Hands the gradients that were made with the loss to autograd: dx [N, C], and
// dE [v, C] of the first v rows of E.
class MadeLoss : public torch::autograd::Function<MadeLoss> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& /*x*/,
                            const at::Tensor& weight, const at::Tensor& loss,
                            const at::Tensor& dx, const at::Tensor& dweight) {
    context->save_for_backward({weight, dx, dweight});
    return loss.clone();
  }

  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& weight = saved[0];
    const at::Tensor& dx = saved[1];
    const at::Tensor& dweight = saved[2];
    const at::Tensor factor = gradients[0].to(weight.scalar_type());
    if (context->needs_input_grad(1)) {
      GradientOf(weight)
          .narrow(0, 0, dweight.size(0))
          .addcmul_(dweight, factor);
    }
    return {dx * factor, at::Tensor(), at::Tensor(), at::Tensor(),
            at::Tensor()};
  }
};

// The softmax of one chunk of tokens after the other, with the memory of the
// first.
class ChunkedSoftmax {
 public:
  ChunkedSoftmax(Communicator& axis, const VocabParallelEmbedding& output,
                 int64_t vocab_size, int64_t tokens_per_chunk)
      : axis_(axis),
        first_row_(output.first_row()),
        vocab_size_(vocab_size),
        tokens_per_chunk_(tokens_per_chunk) {
    const at::Tensor rows_VC = output.rows().detach();
    const int64_t num_valid =
        std::clamp<int64_t>(vocab_size - first_row_, 0, rows_VC.size(0));
    // A rank with nothing but padding scores one row of it, and drops it.
    only_padding_ = num_valid == 0;
    rows_vC_ = rows_VC.narrow(0, 0, std::max<int64_t>(num_valid, 1));
    const at::ScalarType statistics =
        rows_VC.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    product_ =
        at::empty({tokens_per_chunk, rows_vC_.size(0)}, rows_VC.options());
    scores_ = product_.scalar_type() == statistics
                  ? product_
                  : at::empty_like(product_, statistics);
  }

  const at::Tensor& rows_vC() const { return rows_vC_; }

  // The losses [N]; on every rank the same bits. after(begin, x_nC) is called
  // for the chunk of tokens begin, begin + 1, ..., when it has been scored.
  template <typename After>
  at::Tensor ForEachChunk(const at::Tensor& x_NC, const at::Tensor& targets_N,
                          After after) {
    CheckHidden(x_NC, rows_vC_);
    CheckIds(targets_N, vocab_size_, "targets");
    TORCH_CHECK(targets_N.dim() == 1 && targets_N.size(0) == x_NC.size(0),
                "targets ", targets_N.sizes(), " for hidden states ",
                x_NC.sizes());
    const int64_t num_tokens = x_NC.size(0);
    const at::Tensor nll_N = at::empty({num_tokens}, scores_.options());
    for (int64_t begin = 0; begin < num_tokens; begin += tokens_per_chunk_) {
      const int64_t n = std::min(tokens_per_chunk_, num_tokens - begin);
      const at::Tensor x_nC = x_NC.narrow(0, begin, n);
      nll_N.narrow(0, begin, n)
          .copy_(Score(x_nC, targets_N.narrow(0, begin, n)));
      after(begin, x_nC);
    }
    return nll_N;
  }

  // scale * d(sum of the losses) / d(scores) [n, v] of the chunk at hand.
  const at::Tensor& ScoreGradient(double scale) {
    scores_nv_.mul_((share_n_ * scale).unsqueeze(1));
    scores_nv_.scatter_add_(1, target_n1_, is_here_n1_ * -scale);
    if (!product_.is_same(scores_)) product_nv_.copy_(scores_nv_);
    return product_nv_;
  }

 private:
  // The losses [n] of a chunk.
  at::Tensor Score(const at::Tensor& x_nC, const at::Tensor& targets_n) {
    const int64_t n = x_nC.size(0);
    product_nv_ = product_.narrow(0, 0, n);
    scores_nv_ = scores_.narrow(0, 0, n);
    at::mm_out(product_nv_, x_nC, rows_vC_.t());
    if (!product_.is_same(scores_)) scores_nv_.copy_(product_nv_);
    if (only_padding_) {
      scores_nv_.fill_(-std::numeric_limits<double>::infinity());
    }

    // Per token: largest score, sum of exponentials, the target's score.
    const LocalIds targets(targets_n, first_row_,
                           only_padding_ ? 0 : rows_vC_.size(0));
    target_n1_ = targets.place.unsqueeze(1);
    is_here_n1_ =
        targets.outside.logical_not().to(scores_.scalar_type()).unsqueeze(1);
    const at::Tensor mine_3n = at::empty({3, n}, scores_.options());
    at::Tensor maximum_n = mine_3n[0];
    at::Tensor sum_n = mine_3n[1];
    at::amax_out(maximum_n, scores_nv_, 1);
    // Finite, so that -inf - maximum is -inf.
    maximum_n.clamp_min_(std::numeric_limits<float>::lowest());
    mine_3n[2].copy_(scores_nv_.gather(1, target_n1_).squeeze(1));
    mine_3n[2].masked_fill_(targets.outside, 0);
    scores_nv_.sub_(maximum_n.unsqueeze(1)).exp_();
    at::sum_out(sum_n, scores_nv_, 1);
    return Combine(mine_3n);
  }

  // Every rank gets the statistics of all and adds them in rank order: one
  // collective in place of one for each statistic.
  at::Tensor Combine(const at::Tensor& mine_3n) {
    const int64_t n = mine_3n.size(1);
    at::Tensor all_P3n = mine_3n.unsqueeze(0);
    if (axis_.size() > 1) {
      all_P3n = at::empty({axis_.size(), 3, n}, mine_3n.options());
      axis_.AllGather(all_P3n, mine_3n);
    }
    const at::Tensor maxima_Pn = all_P3n.select(1, 0);
    const at::Tensor maximum_n = maxima_Pn.amax(0);
    const at::Tensor weights_Pn = (maxima_Pn - maximum_n).exp_();
    const at::Tensor sum_n = (all_P3n.select(1, 1) * weights_Pn).sum(0);
    share_n_ = weights_Pn[axis_.rank()] / sum_n;
    // The difference first: it is exact where the target has the maximum.
    return sum_n.log().add_(maximum_n - all_P3n.select(1, 2).sum(0));
  }

  Communicator& axis_;
  int64_t first_row_;
  int64_t vocab_size_;
  int64_t tokens_per_chunk_;
  bool only_padding_;
  at::Tensor rows_vC_;
  at::Tensor product_;  // [tokens_per_chunk, v] in E's dtype
  at::Tensor scores_;   // the same, in the dtype of the statistics
  // Of the chunk at hand. scores_nv_ holds exp(score - this rank's maximum);
  // times share_n_ it is the softmax.
  at::Tensor product_nv_;
  at::Tensor scores_nv_;
  at::Tensor share_n_;
  at::Tensor target_n1_;
  at::Tensor is_here_n1_;
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
              ": a vocabulary of ", padded_vocab, " does not divide among ",
              tensor_axis.size(), " tensor ranks");
  const int64_t rows = padded_vocab / tensor_axis.size();
  weight_ =
      MakeParameter({{.name = name + ".weight",
                      .global_shape = {padded_vocab, width},
                      .box = {{rows * tensor_axis.rank(), 0}, {rows, width}}}},
                    /*weight_decay=*/true, /*tensor_sharded=*/true, initialize);
}

at::Tensor VocabParallelEmbedding::operator()(const at::Tensor& tokens) {
  CheckIds(tokens, weight_.pieces[0].global_shape[0], "tokens");
  return ReduceFromAxis(
      Embedding::apply(tokens, weight_.leaf, first_row(),
                       /*has_all_rows=*/tensor_axis_.size() == 1),
      tensor_axis_);
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

at::Tensor VocabParallelCrossEntropy::Loss(const at::Tensor& x_NC,
                                           const at::Tensor& targets_N,
                                           double scale) {
  const at::Tensor& weight = output_.rows();
  if (!at::GradMode::is_enabled() ||
      !(x_NC.requires_grad() || weight.requires_grad())) {
    return Sum(Nll(x_NC, targets_N), scale);
  }
  at::Tensor loss;
  at::Tensor dx_NC;
  at::Tensor dweight_vC;
  {
    const at::NoGradGuard by_hand;
    ChunkedSoftmax softmax(tensor_axis_, output_, vocab_size_,
                           std::min(tokens_per_chunk_, x_NC.size(0)));
    dx_NC = at::empty_like(x_NC, at::MemoryFormat::Contiguous);
    dweight_vC = at::zeros_like(softmax.rows_vC());
    const at::Tensor nll_N = softmax.ForEachChunk(
        x_NC, targets_N, [&](int64_t begin, const at::Tensor& x_nC) {
          const at::Tensor& dscores_nv = softmax.ScoreGradient(scale);
          at::Tensor dx_nC = dx_NC.narrow(0, begin, x_nC.size(0));
          at::mm_out(dx_nC, dscores_nv, softmax.rows_vC());
          dweight_vC.addmm_(dscores_nv.t(), x_nC);
        });
    tensor_axis_.AllReduce(dx_NC, ReduceOp::kSum);
    loss = Sum(nll_N, scale);
  }
  return MadeLoss::apply(x_NC, weight, loss, dx_NC, dweight_vC);
}

at::Tensor VocabParallelCrossEntropy::Nll(const at::Tensor& x_NC,
                                          const at::Tensor& targets_N) {
  const at::NoGradGuard no_gradients;
  ChunkedSoftmax softmax(tensor_axis_, output_, vocab_size_,
                         std::min(tokens_per_chunk_, x_NC.size(0)));
  return softmax.ForEachChunk(x_NC, targets_N,
                              [](int64_t, const at::Tensor&) {});
}

at::Tensor VocabParallelCrossEntropy::Logits(const at::Tensor& x_NC) {
  const at::NoGradGuard no_gradients;
  const at::Tensor& rows_VC = output_.rows();
  CheckHidden(x_NC, rows_VC);
  at::Tensor logits = at::mm(x_NC, rows_VC.t());
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

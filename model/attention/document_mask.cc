#include "model/attention/document_mask.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/math.h"

namespace lextra {
namespace {

constexpr int64_t kUnbounded = int64_t{1} << 62;

double CausalKeys(double places) { return places * (places + 1) / 2; }

// For places that each see one more key than the one before, up to `most`.
double GrowingKeys(int64_t places, int64_t most) {
  const int64_t growing = std::clamp<int64_t>(places, 0, most);
  return CausalKeys(growing) +
         static_cast<double>(most) * std::max<int64_t>(0, places - growing);
}

}  // namespace

bool DocumentMask::is_valid() const {
  switch (kind) {
    case CAUSAL:
      return block == 0 && window == 0 && sinks == 0;
    case BCA:
      return block > 0 && window == 0 && sinks == 0;
    case WINDOW:
      return block == 0 && window > 0 && sinks == 0;
    case WINDOW_AND_SINKS:
      return block == 0 && window > 0 && sinks >= 0 && sinks <= window;
  }
  return false;
}

bool DocumentMask::is_blockwise() const { return kind != CAUSAL; }

int64_t DocumentMask::Span(int64_t num_places) const {
  switch (kind) {
    case CAUSAL:
      return num_places;
    case BCA:
      return std::min(num_places, 2 * block);
    case WINDOW:
    case WINDOW_AND_SINKS:
      return std::min(num_places, window + sinks);
  }
  return num_places;
}

int64_t DocumentMask::Center(int64_t training_length) const {
  return is_blockwise() ? Span(kUnbounded) / 2 : training_length / 2;
}

double DocumentMask::VisibleKeys(int64_t num_places) const {
  switch (kind) {
    case CAUSAL:
      return CausalKeys(num_places);
    case BCA: {
      const double own = num_places / block * CausalKeys(block) +
                         CausalKeys(num_places % block);
      const double previous =
          static_cast<double>(block) * std::max<int64_t>(0, num_places - block);
      return own + previous;
    }
    case WINDOW:
    case WINDOW_AND_SINKS:
      // Place t sees min(t + 1, W) keys, and min(k, t + 1 - W) sinks.
      return GrowingKeys(num_places, window) +
             GrowingKeys(num_places - window, sinks);
  }
  return 0;
}

int64_t DocumentMask::FirstKey(int64_t query) const {
  switch (kind) {
    case CAUSAL:
      return 0;
    case BCA:
      return std::max<int64_t>(0, (query / block - 1) * block);
    case WINDOW:
    case WINDOW_AND_SINKS:
      return std::max<int64_t>(0, query - window + 1);
  }
  return 0;
}

int64_t DocumentMask::KeyRunEnd(int64_t query) const {
  return kind == BCA ? (query / block + 1) * block : kUnbounded;
}

int64_t DocumentMask::MaxDistance() const {
  return window > 0 ? window : kUnbounded;
}

BlockMask DocumentMask::Blocks(int64_t num_targets,
                               int64_t segment_tokens) const {
  if (kind == BCA) return {.block = block};
  // Sinks that no query has passed are in the window.
  const int64_t used_sinks = num_targets > window ? sinks : 0;
  const int64_t seen = std::min(window, num_targets);
  const int64_t parts = CeilDivide(seen, segment_tokens);
  return {.block = std::max(CeilDivide(seen, parts), used_sinks),
          .window = window,
          .sinks = used_sinks};
}

std::string DocumentMask::Text() const {
  switch (kind) {
    case CAUSAL:
      return "causal";
    case BCA:
      return absl::StrCat("BCA ", block);
    case WINDOW:
      return absl::StrCat("window ", window);
    case WINDOW_AND_SINKS:
      return absl::StrCat("window ", window, " and ", sinks, " sinks");
  }
  return "";
}

DocumentMask MaskOf(Mask kind, const EvaluationConfig& config) {
  switch (kind) {
    case CAUSAL:
      return {};
    case BCA:
      return {.kind = kind, .block = config.block_size()};
    case WINDOW:
      return {.kind = kind, .window = config.window_size()};
    case WINDOW_AND_SINKS:
      return {.kind = kind,
              .window = config.window_size(),
              .sinks = config.num_sinks()};
  }
  return {};
}

}  // namespace lextra

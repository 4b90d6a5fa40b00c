#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <gmock/gmock.h>

#include <optional>

#include "ops/matmul.h"
#include "trainer/profile/step_recorder.h"

namespace lextra {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

// A clock that ticks once a reading, so that every scope takes time.
StepProfile TickingProfile() {
  return StepProfile([tick = int64_t{0}]() mutable { return ++tick; });
}

TEST(StepRecorder, KnowsProductsOperatorsOwnScopesAndTheBackwardPass) {
  const at::Tensor a = at::ones({2, 4}).requires_grad_();
  const at::Tensor b = at::ones({4, 3});
  const at::Tensor out = at::empty({2, 3});
  StepProfile profile = TickingProfile();
  {
    const StepRecorder recorded(profile);
    Matmul(out, a.detach(), b, {});
    RECORD_USER_SCOPE("loss: test");
    at::mm(a, b).sum().backward();
  }
  EXPECT_GT(profile.Milliseconds("loss"), 0);
  // Ours, the operator's, and the operator's gradient.
  EXPECT_EQ(profile.Calls("gemm"), 3);
  const std::string trace = profile.Trace(0);
  EXPECT_THAT(trace, HasSubstr("\"gemm: 2x3x4\""));
  EXPECT_THAT(trace, HasSubstr("\"aten::mm\""));
  EXPECT_THAT(trace, HasSubstr("MmBackward0"));
}

TEST(StepRecorder, CountsTheTensorsThatAreMade) {
  std::optional<at::Tensor> kept;
  StepProfile profile = TickingProfile();
  {
    const StepRecorder recorded(profile);
    kept = at::empty({250'000}, at::kFloat);
    for (int i = 0; i < 3; ++i) at::empty({500'000}, at::kFloat);
  }
  EXPECT_EQ(profile.Calls("allocator"), 4);
  EXPECT_THAT(
      profile.Table(),
      Contains(HasSubstr("4.0 allocations per step, 7.00 MB, peak 3.00 MB")));
}

TEST(StepRecorder, RecordsNothingBeforeAndAfter) {
  StepProfile profile = TickingProfile();
  at::ones({2, 2}).mul_(2);
  { const StepRecorder recorded(profile); }
  at::ones({2, 2}).mul_(2);
  EXPECT_FALSE(at::hasThreadLocalCallbacks());
  EXPECT_EQ(profile.num_steps(), 1);
  EXPECT_EQ(profile.Milliseconds("elementwise"), 0);
  EXPECT_THAT(profile.Trace(0), Not(HasSubstr("aten::")));
}

}  // namespace
}  // namespace lextra

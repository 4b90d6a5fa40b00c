// deploy/bundle.sh: what it packs runs where neither the build, nor Open MPI,
// Abseil and Protobuf of this machine can be seen.
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>

#include "tests/end_to_end/lextra_program.h"

namespace lextra::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr uintmax_t kBoundBytes = 40 << 20;

// Runs the arguments after the first, the build folder, with the machine's own
// libraries and that folder hidden from them.
constexpr char kHidden[] = R"(
set -e
mount --make-rprivate /
empty=$(mktemp -d)
trap 'rmdir $empty' EXIT
library=/usr/lib/x86_64-linux-gnu
for folder in "$0" $library/openmpi $library/pmix2 /usr/share/openmpi; do
  if [ -d $folder ]; then mount --bind $empty $folder; fi
done
for file in $library/lib{absl_,protobuf,mpi,open-,hwloc,event,pmix}*.so* /usr/bin/orte{run,d}; do
  if [ -f $file ]; then mount --bind /dev/null $file; fi
done
"$@"
)";

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

class BundleTest : public EndToEndTest {
 protected:
  static void SetUpTestSuite() {
    EndToEndTest::SetUpTestSuite();
    RunWell({Variable("LEXTRA_SOURCE_DIR") + "/deploy/bundle.sh",
             "--output=" + Path("bundle.tar.gz")});
    RunWell({"tar", "-C", Path(""), "-xzf", Path("bundle.tar.gz")});
  }
  static std::string Program(const std::string& name) {
    return Path("lextra-bundle/bin/" + name);
  }
};

TEST_F(BundleTest, IsSmallWithoutLibTorch) {
  EXPECT_LT(fs::file_size(Path("bundle.tar.gz")), kBoundBytes);
}

TEST_F(BundleTest, TwoRanksTrainAndScoreWithTheBuildAndTheLibrariesHidden) {
  if (RunProcess({"unshare", "-m", "mount", "--make-rprivate", "/"}, 10)
          .exit_code != 0) {
    GTEST_SKIP() << "this machine allows no mount namespace: unshare -m failed";
  }
  Arguments mpirun =
      Mpirun(2, {Program("lextra"), "--torch=" LEXTRA_LIBTORCH_DIR});
  mpirun[0] = Program("mpirun");
  const Arguments hidden =
      Arguments{"unshare", "-m",    "bash",
                "-c",      kHidden, Variable("LEXTRA_BUILD_DIR")} +
      mpirun;
  RunWell(hidden + Train(Path("hidden"), {"schedule.num_steps=5"}));
  EXPECT_EQ(LossesOf(Path("hidden")).size(), 5u);
  RunWell(hidden + Arguments{"evaluate", "--checkpoint=" + Path("hidden"),
                             "--results_dir=" + Path("scores"),
                             "evaluation.masks=[BCA]", "parallel.data=2"});
  EXPECT_TRUE(fs::exists(Path("scores/results.json")));
}

TEST_F(BundleTest, SaysWhichLibTorchItWants) {
  EXPECT_THAT(
      RunProcess({Program("lextra"), "--torch=" + Path(""), "--version"}, 10)
          .output,
      HasSubstr("give the folder that contains torch/"));
  fs::create_directories(Path("old/torch"));
  WriteText(Path("old/torch/version.py"), "__version__ = '2.10.0+cpu'\n");
  const ProcessResult old = RunProcess(
      {Program("lextra"), "--torch=" + Path("old"), "--version"}, 10);
  EXPECT_EQ(old.exit_code, 3);
  EXPECT_THAT(old.output, HasSubstr("has PyTorch 2.10.0+cpu"));
}

// deploy/checks/gpu_check.sh, CPU against CPU.
TEST_F(BundleTest, TheGpuCheckPassesAndAnotherSeedFailsIt) {
  const Arguments check = {"env",
                           "LEXTRA_TORCH_DIR=" LEXTRA_LIBTORCH_DIR,
                           Path("lextra-bundle/deploy/checks/gpu_check.sh"),
                           "--device=cpu",
                           "--output=" + Path("check"),
                           "--claims=fp32_losses,exact_resume"};
  EXPECT_THAT(RunWell(check).output, HasSubstr("2 pass, 0 fail"));
  const ProcessResult wrong = RunProcess(
      check + Arguments{"--claims=fp32_losses", "--override=model.init_seed=2"},
      kLimitSeconds);
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_THAT(wrong.output, HasSubstr("0 pass, 1 fail"));
}

}  // namespace
}  // namespace lextra::testing

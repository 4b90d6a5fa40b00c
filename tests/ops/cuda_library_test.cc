// What a module that does not load is said to lack.
#include "ops/cuda_library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lextra {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Refusal(const absl::Status& status) {
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("\n")));
  return std::string(status.message());
}

TEST(LoadError, NamesTheLibraryThatIsMissing) {
  EXPECT_THAT(Refusal(LoadError(
                  "/x/lextra_cuda.so",
                  "libcudnn.so.9: cannot open shared object file: No such "
                  "file or directory")),
              AllOf(HasSubstr("libcudnn.so.9 is missing"),
                    HasSubstr("parallel.device=CPU")));
}

TEST(LoadError, TellsAModuleOfAnotherBuild) {
  EXPECT_THAT(Refusal(LoadError("/x/lextra_cuda.so",
                                "/x/lextra_cuda.so: undefined symbol: f")),
              AllOf(HasSubstr("does not match this program and LibTorch"),
                    HasSubstr("f")));
}

TEST(CheckCudaApi, RefusesAModuleOfAnotherVersionOrSize) {
  CudaApi api;
  EXPECT_TRUE(CheckCudaApi(api).ok());
  api.version = kCudaApiVersion + 1;
  EXPECT_THAT(Refusal(CheckCudaApi(api)),
              AllOf(HasSubstr("does not match this program"),
                    HasSubstr("rebuild both")));
  api.version = kCudaApiVersion;
  api.bytes -= 8;
  EXPECT_THAT(Refusal(CheckCudaApi(api)), HasSubstr("rebuild both"));
}

}  // namespace
}  // namespace lextra

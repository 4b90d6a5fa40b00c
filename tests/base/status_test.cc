#include "base/status.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"

namespace lextra {
namespace {

TEST(Status, EachClassHasItsExitCode) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), ExitCode::kFinished);
  EXPECT_EQ(ExitCodeOf(UsageError("x")), ExitCode::kUsage);
  EXPECT_EQ(ExitCodeOf(InputError("x")), ExitCode::kInput);
  EXPECT_EQ(ExitCodeOf(CheckpointError("x")), ExitCode::kCheckpoint);
  EXPECT_EQ(ExitCodeOf(RunFolderHeldError("x")), ExitCode::kRunFolderHeld);
  EXPECT_EQ(ExitCodeOf(CommunicationError("x")), ExitCode::kCommunication);
  EXPECT_EQ(ExitCodeOf(NumericError("x")), ExitCode::kNumeric);
  EXPECT_EQ(ExitCodeOf(StorageError("x")), ExitCode::kStorage);
}

TEST(Status, AForeignErrorNeverEndsAsSuccess) {
  EXPECT_EQ(ExitCodeOf(absl::InternalError("x")), ExitCode::kInput);
  EXPECT_EQ(ExitCodeOf(absl::UnknownError("x")), ExitCode::kInput);
}

TEST(Status, ExitCodesAreTheDocumentedNumbers) {
  EXPECT_EQ(static_cast<int>(ExitCode::kFinished), 0);
  EXPECT_EQ(static_cast<int>(ExitCode::kUsage), 2);
  EXPECT_EQ(static_cast<int>(ExitCode::kInput), 3);
  EXPECT_EQ(static_cast<int>(ExitCode::kCheckpoint), 4);
  EXPECT_EQ(static_cast<int>(ExitCode::kRunFolderHeld), 5);
  EXPECT_EQ(static_cast<int>(ExitCode::kCommunication), 6);
  EXPECT_EQ(static_cast<int>(ExitCode::kNumeric), 7);
  EXPECT_EQ(static_cast<int>(ExitCode::kStorage), 8);
  EXPECT_EQ(static_cast<int>(ExitCode::kPreempted), 75);
}

TEST(Status, AMessageIsOneLineWhateverItQuotes) {
  EXPECT_EQ(InputError("a\n[rank 0] fine\r\x1b[2J\x7f").message(),
            "a\\x0a[rank 0] fine\\x0d\\x1b[2J\\x7f");
  EXPECT_EQ(WithContext(InputError("b"), "a\n").message(), "a\\x0a: b");
  EXPECT_EQ(UsageError("a\nb\t").message(), "a\nb\\x09");
  EXPECT_EQ(InputError("caf\xc3\xa9").message(), "caf\xc3\xa9");
}

TEST(Status, ALongMessageKeepsItsEnds) {
  const std::string kept(4096, 'x');
  EXPECT_EQ(InputError(kept).message(), kept);
  const absl::Status status =
      InputError("begin" + std::string(1'000'000, 'x') + "end");
  EXPECT_LT(status.message().size(), 4200u);
  EXPECT_TRUE(absl::StartsWith(status.message(), "beginxxx"));
  EXPECT_TRUE(absl::EndsWith(status.message(), "xxxend"));
  // 3072 places hold whole characters of two bytes, 3071 do not.
  std::string accents = "a";
  while (accents.size() < 5001) accents += "\xc3\xa9";
  EXPECT_TRUE(absl::StrContains(InputError(accents).message(),
                                "\xc3\xa9 ... (906 bytes omitted) ... \xc3"))
      << InputError(accents);
}

TEST(WithContext, GoesBeforeTheMessageAndKeepsTheClass) {
  const absl::Status status = WithContext(UsageError("inner"), "outer");
  EXPECT_EQ(status.message(), "outer: inner");
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
}

TEST(WithContext, LeavesOkAlone) {
  EXPECT_EQ(WithContext(absl::OkStatus(), "outer"), absl::OkStatus());
}

absl::StatusOr<int> Half(int value) {
  if (value % 2 != 0) return InputError("odd");
  return value / 2;
}

absl::StatusOr<int> Quarter(int value) {
  LEXTRA_ASSIGN_OR_RETURN(const int half, Half(value));
  LEXTRA_ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

absl::Status Check(const absl::Status& status, bool* went_on) {
  LEXTRA_RETURN_IF_ERROR(status);
  *went_on = true;
  return absl::OkStatus();
}

TEST(StatusMacros, AssignOrReturnPassesValuesAndErrors) {
  EXPECT_EQ(Quarter(12).value(), 3);
  EXPECT_EQ(Quarter(6).status(), InputError("odd"));
}

TEST(StatusMacros, ReturnIfErrorStopsOnErrorsOnly) {
  bool went_on = false;
  EXPECT_EQ(Check(InputError("bad"), &went_on), InputError("bad"));
  EXPECT_FALSE(went_on);
  EXPECT_EQ(Check(absl::OkStatus(), &went_on), absl::OkStatus());
  EXPECT_TRUE(went_on);
}

}  // namespace
}  // namespace lextra

#include "base/status.h"

#include <gtest/gtest.h>

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
  EXPECT_EQ(ExitCodeOf(absl::CancelledError("x")), ExitCode::kInput);
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

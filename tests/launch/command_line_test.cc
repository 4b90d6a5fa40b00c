#include "launch/arguments/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lextra {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class CommandLineTest : public ::testing::Test {
 protected:
  CommandLineTest() : line_("try [flags] [overrides]", "Tries things.") {
    line_.AddFlag("config", &config_, "configuration to use");
    line_.AddFlag("run_dir", &run_dir_, "folder of the run");
    line_.AddFlag("resume", &resume_, "continue where it stopped");
    line_.AddFlag("ranks", &ranks_, "expected ranks");
    line_.AddFlag("set", &set_, "one override");
  }

  absl::Status Parse(const std::vector<std::string>& arguments) {
    return line_.Parse(arguments);
  }
  std::string UsageMessage(const std::vector<std::string>& arguments) {
    const absl::Status status = Parse(arguments);
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage) << status;
    return std::string(status.message());
  }

  CommandLine line_;
  std::string config_;
  std::string run_dir_ = "runs/last";
  bool resume_ = false;
  int64_t ranks_ = 4;
  std::vector<std::string> set_;
};

TEST_F(CommandLineTest, NoArgumentsLeaveTheDefaults) {
  EXPECT_EQ(Parse({}), absl::OkStatus());
  EXPECT_EQ(config_, "");
  EXPECT_EQ(run_dir_, "runs/last");
  EXPECT_FALSE(resume_);
  EXPECT_EQ(ranks_, 4);
  EXPECT_FALSE(line_.help_wanted());
  EXPECT_THAT(line_.rest(), IsEmpty());
}

TEST_F(CommandLineTest, FlagsTakeTheirValueAfterEqualsOrASpace) {
  EXPECT_EQ(Parse({"--config=a=b", "--run_dir", "x", "--ranks=2"}),
            absl::OkStatus());
  EXPECT_EQ(config_, "a=b");
  EXPECT_EQ(run_dir_, "x");
  EXPECT_EQ(ranks_, 2);
}

TEST_F(CommandLineTest, AnEmptyValueIsAValue) {
  EXPECT_EQ(Parse({"--run_dir="}), absl::OkStatus());
  EXPECT_EQ(run_dir_, "");
}

TEST_F(CommandLineTest, ABoolStandsAloneOrWithAValue) {
  EXPECT_EQ(Parse({"--resume", "model.hidden_size=3"}), absl::OkStatus());
  EXPECT_TRUE(resume_);
  EXPECT_THAT(line_.rest(), ElementsAre("model.hidden_size=3"));
}

TEST_F(CommandLineTest, ABoolCanBeTurnedOff) {
  resume_ = true;
  EXPECT_EQ(Parse({"--resume=false"}), absl::OkStatus());
  EXPECT_FALSE(resume_);
}

TEST_F(CommandLineTest, AListFlagCollectsInOrder) {
  EXPECT_EQ(Parse({"--set=a=1", "--set", "b=2"}), absl::OkStatus());
  EXPECT_THAT(set_, ElementsAre("a=1", "b=2"));
}

TEST_F(CommandLineTest, TheRestKeepsItsOrderAroundFlags) {
  EXPECT_EQ(Parse({"a.b=1", "--config=c", "-x", "d.e=2"}), absl::OkStatus());
  EXPECT_EQ(config_, "c");
  EXPECT_THAT(line_.rest(), ElementsAre("a.b=1", "-x", "d.e=2"));
}

TEST_F(CommandLineTest, TwoDashesEndTheFlags) {
  EXPECT_EQ(Parse({"--", "--config=c", "--"}), absl::OkStatus());
  EXPECT_EQ(config_, "");
  EXPECT_THAT(line_.rest(), ElementsAre("--config=c", "--"));
}

TEST_F(CommandLineTest, AnUnknownFlagListsTheKnownOnes) {
  EXPECT_THAT(UsageMessage({"--confg=x"}),
              AllOf(HasSubstr("--confg"), Not(HasSubstr("--confg=x")),
                    HasSubstr("--config --run_dir --resume --ranks --set")));
  EXPECT_THAT(UsageMessage({"--confg"}), HasSubstr("unknown flag --confg ("));
}

TEST_F(CommandLineTest, AFlagGivenTwiceIsRefused) {
  EXPECT_THAT(UsageMessage({"--config=a", "--config=a"}),
              HasSubstr("duplicate flag --config"));
  EXPECT_THAT(UsageMessage({"--resume", "--resume=false"}),
              HasSubstr("duplicate flag --resume"));
}

TEST_F(CommandLineTest, AWrongTypeSaysWhatIsExpected) {
  for (const std::string value :
       {"x", "", "1.5", "-1", "-5", "9223372036854775808"}) {
    CommandLine line("try", "");
    int64_t number = 0;
    line.AddFlag("ranks", &number, "");
    const absl::Status status = line.Parse({"--ranks=" + value});
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
    EXPECT_EQ(status.message(),
              "flag --ranks=" + value + ": expected a non-negative integer");
  }
  EXPECT_EQ(UsageMessage({"--resume=perhaps"}),
            "flag --resume=perhaps: expected true or false");
}

TEST_F(CommandLineTest, AFlagWithoutItsValueIsRefused) {
  EXPECT_EQ(UsageMessage({"--config"}), "flag --config needs a value");
}

TEST_F(CommandLineTest, HelpShowsUsageFlagsAndDefaults) {
  EXPECT_EQ(Parse({"--help"}), absl::OkStatus());
  EXPECT_TRUE(line_.help_wanted());
  const std::string help = line_.Help();
  EXPECT_THAT(help, StartsWith("usage: lextra try [flags] [overrides]\n\nTries "
                               "things.\n"));
  EXPECT_THAT(help, HasSubstr("--config=TEXT"));
  EXPECT_THAT(help, HasSubstr("configuration to use\n"));
  EXPECT_THAT(help, HasSubstr("folder of the run [runs/last]\n"));
  EXPECT_THAT(help, HasSubstr("expected ranks [4]\n"));
  EXPECT_THAT(help, HasSubstr("--resume "));
  EXPECT_THAT(help, HasSubstr("--set=TEXT ..."));
}

}  // namespace
}  // namespace lextra

// prepare and train: what a run leaves in its folder, and runs that stop and
// resume. Losses are fp32 sums printed with every digit.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>
#include <tuple>

#include "tests/end_to_end/lextra_program.h"
#include "tests/testing/tolerances.h"

namespace lextra::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

struct Layout {
  int data;
  int tensor;

  int num_ranks() const { return data * tensor; }
  Arguments overrides() const {
    return {"parallel.data=" + std::to_string(data),
            "parallel.tensor=" + std::to_string(tensor)};
  }
  std::string name() const {
    return "data" + std::to_string(data) + "tensor" + std::to_string(tensor);
  }
};

void PrintTo(const Layout& layout, std::ostream* out) { *out << layout.name(); }

// The losses of the steps after `step`.
std::map<int64_t, double> After(int64_t step,
                                const std::map<int64_t, double>& losses) {
  return {losses.upper_bound(step), losses.end()};
}

class TrainTest : public EndToEndTest {
 protected:
  // One step of a run alone in a folder, as if the run had stopped there.
  static std::string OnlyStep(const std::string& run_folder,
                              const std::string& step,
                              const std::string& new_name) {
    const std::string copy = Path(new_name);
    fs::create_directory(copy);
    fs::copy(run_folder + "/" + step, copy + "/" + step);
    return copy;
  }
};

class TrainOnRanksTest : public TrainTest,
                         public ::testing::WithParamInterface<Layout> {};

TEST_P(TrainOnRanksTest, LearnsAndLeavesTheFilesOfARun) {
  const std::string run = Path("run-" + GetParam().name());
  const ProcessResult result = RunWell(
      LextraOn(GetParam().num_ranks(),
               Train(run, GetParam().overrides() +
                              Arguments{"checkpoint.interval_steps=10"})));
  for (const char* file :
       {"config.textproto", "cmdline.txt", "env.json", "log.txt",
        "metrics.jsonl", "latest", "step-00000010/MANIFEST.json",
        "step-00000020/MANIFEST.json"}) {
    EXPECT_TRUE(fs::is_regular_file(run + "/" + file)) << file;
    EXPECT_GT(fs::file_size(run + "/" + file), 0u) << file;
  }
  EXPECT_EQ(ReadText(run + "/latest"), "20\n");
  EXPECT_THAT(ReadText(run + "/config.textproto"),
              HasSubstr("hidden_size: 32"));
  EXPECT_THAT(ReadText(run + "/cmdline.txt"),
              HasSubstr("\n--run_dir=" + run + "\n"));
  EXPECT_THAT(ReadText(run + "/log.txt"), HasSubstr("| loss "));
  // As the umask of whoever starts it says, for a group to share.
  const mode_t mask = umask(0);
  umask(mask);
  const auto mode_of = [](const std::string& path) {
    return static_cast<mode_t>(fs::status(path).permissions());
  };
  EXPECT_EQ(mode_of(run), 0777 & ~mask);
  EXPECT_EQ(mode_of(run + "/step-00000020"), 0777 & ~mask);
  for (const char* file :
       {"LOCK", "RUN_ID", "config.textproto", "cmdline.txt", "env.json",
        "log.txt", "metrics.jsonl", "latest", "step-00000020/MANIFEST.json"}) {
    EXPECT_EQ(mode_of(run + "/" + file), 0666 & ~mask) << file;
  }

  const std::map<int64_t, double> losses = LossesOf(run);
  EXPECT_EQ(losses.size(), 20u);
  // Random bytes cost log 257 = 5.55 nats; twenty steps learn their frequency.
  // The text is this project's own, so the loss moves a little with it: 3.98
  // and 4.02 were seen.
  EXPECT_NEAR(losses.at(1), std::log(257), 0.3);
  EXPECT_LT(losses.at(20), 4.2) << result.output;
  EXPECT_LT(ValidationLossesOf(run).at(20), ValidationLossesOf(run).at(10));
}

TEST_P(TrainOnRanksTest, AResumedRunIsTheUninterruptedRunToTheLastBit) {
  const std::string whole = Path("whole-" + GetParam().name());
  const std::string parts = Path("parts-" + GetParam().name());
  const int ranks = GetParam().num_ranks();
  const Arguments layout = GetParam().overrides();
  RunWell(LextraOn(ranks, Train(whole, layout)));
  RunWell(
      LextraOn(ranks, Train(parts, layout + Arguments{"--stop_at_step=10"})));
  ASSERT_EQ(LossesOf(parts).size(), 10u);
  const ProcessResult resumed = RunWell(LextraOn(ranks, Train(parts, layout)));
  EXPECT_THAT(resumed.output, HasSubstr("resumed from"));
  EXPECT_EQ(LossesOf(parts), LossesOf(whole));
  EXPECT_EQ(ValidationLossesOf(parts).at(20), ValidationLossesOf(whole).at(20));
  EXPECT_EQ(ChecksumsOf(parts + "/step-00000020"),
            ChecksumsOf(whole + "/step-00000020"));
}

INSTANTIATE_TEST_SUITE_P(Layouts, TrainOnRanksTest,
                         ::testing::Values(Layout{1, 1}, Layout{2, 1},
                                           Layout{1, 2}),
                         [](const auto& info) { return info.param.name(); });

TEST_F(TrainTest, ACheckpointOfFourRanksResumesAtAnyLayout) {
  const Layout four = {2, 2};
  const std::string whole = Path("whole-of-four");
  RunWell(LextraOn(
      four.num_ranks(),
      Train(whole,
            four.overrides() + Arguments{"checkpoint.interval_steps=10"})));
  const std::map<int64_t, double> expected = After(10, LossesOf(whole));
  ASSERT_EQ(expected.size(), 10u);
  for (const Layout layout : {Layout{1, 1}, Layout{4, 1}, Layout{1, 4}}) {
    SCOPED_TRACE(layout.name());
    const std::string run =
        OnlyStep(whole, "step-00000010", "on-" + layout.name());
    RunWell(
        LextraOn(layout.num_ranks(),
                 Train(run, layout.overrides() + Arguments{"--resume=must"})));
    const std::map<int64_t, double> losses = LossesOf(run);
    ASSERT_EQ(losses.size(), 10u);
    for (const auto& [step, loss] : expected) {
      EXPECT_NEAR(losses.at(step), loss, testing::kOtherLayoutLoss * loss)
          << "step " << step;
    }
  }
}

// What a table of the profile says: the shares by phase, in percent.
std::map<std::string, double> SharesIn(const std::string& log) {
  std::map<std::string, double> shares;
  std::istringstream lines(
      log.substr(std::min(log.find("profile:"), log.size())));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string phase, percent;
    double milliseconds = 0;
    double share = 0;
    if (words >> phase >> milliseconds >> share >> percent && percent == "%") {
      shares[phase] = share;
    }
  }
  return shares;
}

// Complete events of one thread lie inside each other or apart.
void ExpectNested(const std::vector<nlohmann::json>& trace_events) {
  struct Open {
    int64_t thread, begin, end;
    std::string name;
  };
  std::vector<Open> events;
  for (const nlohmann::json& event : trace_events) {
    if (event.at("ph") != "X") continue;
    const auto nanoseconds = [&](const char* field) {
      return std::llround(event.at(field).get<double>() * 1e3);
    };
    const int64_t begin = nanoseconds("ts");
    events.push_back(
        {event.at("tid"), begin, begin + nanoseconds("dur"), event.at("name")});
  }
  std::sort(events.begin(), events.end(), [](const Open& a, const Open& b) {
    return std::tuple(a.thread, a.begin, -a.end) <
           std::tuple(b.thread, b.begin, -b.end);
  });
  std::vector<Open> around;
  for (const Open& event : events) {
    while (!around.empty() && (around.back().thread != event.thread ||
                               around.back().end <= event.begin)) {
      around.pop_back();
    }
    if (!around.empty()) {
      EXPECT_LE(event.end, around.back().end)
          << event.name << " in " << around.back().name;
    }
    if (event.name != "step") {
      EXPECT_FALSE(around.empty()) << event.name << " outside of a step";
    }
    around.push_back(event);
  }
}

TEST_F(TrainTest, AProfileSaysWhereTheTimeOfAStepGoes) {
  for (const int ranks : {1, 2}) {
    SCOPED_TRACE(ranks);
    const std::string run = Path("profile-" + std::to_string(ranks));
    RunWell(
        LextraOn(ranks, Train(run, {"logging.profile=true",
                                    "evaluation.validation_interval_steps=2",
                                    "--stop_at_step=6"})));
    std::map<std::string, double> shares = SharesIn(ReadText(run + "/log.txt"));
    EXPECT_EQ(shares["all"], 100);
    double sum = 0;
    for (const auto& [phase, share] : shares) sum += phase == "all" ? 0 : share;
    EXPECT_NEAR(sum, 100, 0.05 * shares.size());  // rounded to 0.1 each
    for (const char* phase :
         {"gemm", "attention", "positions", "norm", "activation", "elementwise",
          "loss", "optimizer", "data", "allocator", "other"}) {
      EXPECT_TRUE(shares.contains(phase)) << phase;
    }
    EXPECT_EQ(shares.contains("communication"), ranks > 1);
    for (int rank = 0; rank < ranks; ++rank) {
      const std::string trace =
          ReadText(run + "/profile-rank" + std::to_string(rank) + ".json");
      ExpectNested(nlohmann::json::parse(trace).at("traceEvents"));
      EXPECT_THAT(trace, HasSubstr("\"attention: AttendBackward\""));
    }
  }
}

TEST_F(TrainTest, ATraceThatCannotBeWrittenIsAWarningThatNamesTheRank) {
  const std::string run = Path("profile-blocked");
  fs::create_directories(run + "/profile-rank1.json/in-the-way");
  RunWell(
      LextraOn(2, Train(run, {"logging.profile=true", "--stop_at_step=1"})));
  const std::string warning =
      LineWith("failed to write the profile trace", ReadText(run + "/log.txt"));
  EXPECT_THAT(warning, HasSubstr("rank 1"));
  EXPECT_THAT(warning, HasSubstr("profile-rank1.json"));
}

TEST_F(TrainTest, AnotherModelOrOptimizerIsRefusedByName) {
  const std::string run = Path("other-config");
  RunWell(Lextra(Train(run, {"--stop_at_step=2"})));
  const std::string config = ReadText(run + "/config.textproto");
  const std::map<std::string, std::string> refused = {
      {"model.hidden_size=64", "model.hidden_size: 32 -> 64"},
      {"model.norm=RMS_NORM", "model.norm: LAYER_NORM -> RMS_NORM"},
      {"optimizer.beta2=0.99", "optimizer.beta2: 0.95 -> 0.99"},
      {"schedule.learning_rate=0.1", "schedule.learning_rate: 0.005 -> 0.1"},
      {"data.shuffle_seed=7", "data.shuffle_seed: 1 -> 7"}};
  for (const auto& [override_text, difference] : refused) {
    const ProcessResult result =
        RunProcess(Lextra(Train(run, {override_text})), kLimitSeconds);
    EXPECT_EQ(result.exit_code, 4) << result.output;
    EXPECT_THAT(LineWith("lextra: error:", result.output),
                HasSubstr(difference));
    // The folder still tells how its checkpoints came about.
    EXPECT_TRUE(ReadText(run + "/config.textproto") == config);
    EXPECT_EQ(LossesOf(run).size(), 2u);
  }
  RunWell(Lextra(
      Train(run, {"checkpoint.interval_steps=1", "data.micro_batch_size=2",
                  "evaluation.validation_samples=4", "--stop_at_step=3"})));
  EXPECT_TRUE(fs::exists(run + "/step-00000003/MANIFEST.json"));
}

TEST_F(TrainTest, AnArgumentWithANewLineLeavesReadableRecords) {
  const std::string run = Path("two\nlines");
  const Arguments train = Train(run, {"--stop_at_step=1"});
  RunWell(Lextra(train));
  RunWell(Lextra(train));
  RunWell(Lextra(
      {"train", "--config=" + run + "/config.textproto", "--print_config"}));
  const std::string commands = ReadText(run + "/cmdline.txt");
  EXPECT_THAT(commands, HasSubstr("two\\nlines\n"));
  const auto num_lines = std::count(commands.begin(), commands.end(), '\n');
  // A date and the arguments with the program's name, twice, and a blank line.
  EXPECT_EQ(num_lines, 2 * (static_cast<int64_t>(train.size()) + 2) + 1);
}

TEST_F(TrainTest, WhatIsSomebodyElsesInTheRunFolderStays) {
  const std::string run = Path("shared-folder");
  const Arguments mine = {".tmp-backup/shard-00000-of-00001.safetensors",
                          ".trash-old/notes.txt", "config.textproto.tmp-mine",
                          "latest.tmp", ".bad-ideas.txt"};
  const Arguments leftovers = {"config.textproto.tmp-4711",
                               "latest.tmp-0123456789abcdef"};
  for (const std::string& name : mine + leftovers) {
    fs::create_directories(fs::path(run + "/" + name).parent_path());
    WriteText(run + "/" + name, "text");
  }
  RunWell(Lextra(Train(run, {"--stop_at_step=1", "--resume=none"})));
  for (const std::string& name : mine) {
    EXPECT_TRUE(fs::exists(run + "/" + name)) << name;
  }
  for (const std::string& name : leftovers) {
    EXPECT_FALSE(fs::exists(run + "/" + name)) << name;
  }
}

// Weights so large that no step has a finite loss: fewer steps than the rule on
// skipped steps allows.
TEST_F(TrainTest, ARunThatEndsInStepsThatAreNoNumbersIsAnError) {
  const std::string run = Path("no-number");
  const ProcessResult result = RunProcess(
      LextraOn(2, Train(run, {"model.init_std=1e30", "schedule.num_steps=3",
                              "schedule.warmup_steps=1"})),
      kLimitSeconds);
  EXPECT_EQ(result.exit_code, 7) << result.output;
  EXPECT_THAT(LineWith("lextra: error:", result.output),
              HasSubstr("of the last 3 step(s), up to step 3, was not finite"));
  EXPECT_THAT(result.output, Not(HasSubstr("-nan")));
}

// One step that is finite, and so large that the model is lost.
TEST_F(TrainTest, AModelWhoseLossIsNoNumberIsAnErrorAndNoRow) {
  const std::string run = Path("lost");
  const ProcessResult result = RunProcess(
      Lextra(Train(run, {"schedule.num_steps=1", "schedule.warmup_steps=0",
                         "schedule.learning_rate=1e30",
                         "schedule.min_learning_rate=1e30"})),
      kLimitSeconds);
  EXPECT_EQ(result.exit_code, 7) << result.output;
  EXPECT_THAT(LineWith("lextra: error:", result.output),
              HasSubstr("the validation loss at step 1 is nan"));
  EXPECT_THAT(result.output, Not(HasSubstr("-nan")));
  const ProcessResult evaluated = RunProcess(
      Lextra({"evaluate", "--checkpoint=" + run,
              "--results_dir=" + run + "/eval", "evaluation.lengths=[32]"}),
      kLimitSeconds);
  EXPECT_EQ(evaluated.exit_code, 7) << evaluated.output;
  EXPECT_THAT(LineWith("lextra: error:", evaluated.output),
              HasSubstr(" is not finite; "));
  EXPECT_THAT(evaluated.output, Not(HasSubstr("NLL nan")));
  EXPECT_THAT(evaluated.output, Not(HasSubstr("-nan")));
}

// By a check before a read, or by the handler of the bus error that a read of
// what is gone causes: .bin is read after a check, .idx also without one.
TEST_F(TrainTest, ADataFileThatIsTruncatedWhileInUseIsNamed) {
  for (const std::string suffix : {".bin", ".idx"}) {
    const std::string data = Path("short-" + suffix.substr(1));
    for (const std::string part : {".bin", ".idx", ".meta.json"}) {
      fs::copy_file(TrainData() + part, data + part);
    }
    Process run(LextraOn(
        2, {"train", "--config=" + Path("small.textproto"),
            "--run_dir=" + Path("run-short" + suffix), "data.train=" + data,
            "data.validation=", "schedule.num_steps=1000000"}));
    while (!run.HasEnded() && LineWith("step      3/", run.Output()).empty()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    fs::resize_file(data + suffix, 0);
    const ProcessResult result = run.Wait(kLimitSeconds);
    EXPECT_EQ(result.exit_code, 3) << result.output;
    EXPECT_THAT(LineWith("error:", result.output),
                HasSubstr(data + suffix + ": truncated while in use: 0 bytes"));
  }
}

TEST_F(TrainTest, ResumeMustWantsACheckpointAndNoneWantsNone) {
  const std::string run = Path("resume-modes");
  const auto train = [&run](const std::string& resume) {
    return RunProcess(
        Lextra(Train(run, {"--resume=" + resume, "--stop_at_step=1"})),
        kLimitSeconds);
  };
  const ProcessResult must = train("must");
  EXPECT_EQ(must.exit_code, 4);
  EXPECT_THAT(LineWith("lextra: error:", must.output),
              HasSubstr("there is no checkpoint"));
  EXPECT_EQ(train("none").exit_code, 0);
  const ProcessResult none = train("none");
  EXPECT_EQ(none.exit_code, 4);
  EXPECT_THAT(LineWith("lextra: error:", none.output),
              HasSubstr("step-00000001"));
  EXPECT_EQ(train("must").exit_code, 0);
  EXPECT_EQ(train("sometimes").exit_code, 2);
}

// The first update ruins the weights, so every later step is skipped.
TEST_F(TrainTest, TheCheckpointFromBeforeAStreakOfSkippedStepsStays) {
  const std::string run = Path("ruined");
  const auto train_to = [&run](int step) {
    const ProcessResult trained = RunProcess(
        Lextra(Train(
            run, {"schedule.learning_rate=1e30", "checkpoint.interval_steps=1",
                  "optimizer.max_consecutive_skips=100",
                  "evaluation.validation_samples=1",
                  "--stop_at_step=" + std::to_string(step)})),
        kLimitSeconds);
    // What ends in such a streak is saved, and no success.
    EXPECT_EQ(trained.exit_code, 7) << trained.output;
    EXPECT_THAT(trained.output, HasSubstr("skipped: loss"));
  };
  train_to(6);
  for (const char* step : {"step-00000001", "step-00000005", "step-00000006"}) {
    EXPECT_TRUE(fs::exists(run + "/" + step)) << step;
  }
  EXPECT_FALSE(fs::exists(run + "/step-00000004"));
  // A start in the streak knows of it.
  train_to(10);
  EXPECT_TRUE(fs::exists(run + "/step-00000001"));
  EXPECT_TRUE(fs::exists(run + "/step-00000010"));
  EXPECT_FALSE(fs::exists(run + "/step-00000008"));
}

TEST_F(TrainTest, ValidationShowsHowFarTheModelExtrapolates) {
  const std::string run = Path("extrapolating");
  const ProcessResult trained = RunWell(LextraOn(
      2, Train(run, {"parallel.tensor=2", "parallel.sequence_parallel=true",
                     "evaluation.lengths=[32, 128]",
                     "evaluation.validation_tokens=512"})));
  EXPECT_THAT(
      trained.output,
      ::testing::ContainsRegex("20/20 . NLL with BCA [0-9.]+ at 32, [0-9.]+ at "
                               "128"));
  const std::string metrics = ReadText(run + "/metrics.jsonl");
  EXPECT_THAT(metrics, ::testing::HasSubstr("\"bca_nll\":{\"32\":"));
  // The same numbers as the command's.
  RunWell(
      Lextra({"evaluate", "--checkpoint=" + run,
              "--results_dir=" + run + "/eval", "evaluation.masks=[BCA]",
              "evaluation.lengths=[32, 128]", "evaluation.max_tokens=512"}));
  const auto results =
      nlohmann::json::parse(ReadText(run + "/eval/results.json"));
  const auto line =
      nlohmann::json::parse(LineWith("\"step\":20,\"bca_nll\"", metrics));
  for (const auto& row : results["results"]) {
    EXPECT_NEAR(row["nll"].get<double>(),
                line["bca_nll"][row["length"].dump()].get<double>(), 1e-5);
  }
}

}  // namespace
}  // namespace lextra::testing

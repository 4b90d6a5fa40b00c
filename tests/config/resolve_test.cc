#include "config/resolve.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <chrono>
#include <limits>

#include "config/load.h"
#include "config/model_facts.h"

namespace lextra {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// The smallest configuration that trains.
RunConfig Trainable(const std::vector<std::string>& overrides = {}) {
  RunConfig config;
  config.mutable_data()->set_train("train");
  const absl::Status status = ApplyOverrides(overrides, &config);
  EXPECT_TRUE(status.ok()) << status;
  return config;
}

absl::Status TrainStatus(const std::vector<std::string>& overrides,
                         int world_size = 1) {
  RunConfig config = Trainable(overrides);
  return Resolve(&config, Purpose::kTrain, world_size);
}

absl::Status EvaluateStatus(const std::vector<std::string>& overrides,
                            int world_size = 1) {
  RunConfig config = Trainable(overrides);
  return Resolve(&config, Purpose::kEvaluate, world_size);
}

std::string UsageMessage(const absl::Status& status) {
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage) << status;
  return std::string(status.message());
}

TEST(Resolve, MakesDefaultsAndDerivedValuesExplicit) {
  RunConfig config =
      Trainable({"model.hidden_size=64", "model.num_heads=4",
                 "parallel.tensor=2", "data.global_batch_size=12"});
  ASSERT_TRUE(Resolve(&config, Purpose::kTrain, 6).ok());
  EXPECT_TRUE(config.model().has_num_layers());
  EXPECT_TRUE(config.logging().has_interval_steps());
  EXPECT_EQ(config.model().num_kv_heads(), 4);
  EXPECT_EQ(config.model().head_dim(), 16);
  EXPECT_EQ(config.model().ffn_hidden_size(), 256);
  EXPECT_EQ(config.model().vocab_size(), 0);
  EXPECT_EQ(config.parallel().data(), 3);
  EXPECT_EQ(config.data().micro_batch_size(), 4);
  EXPECT_THAT(config.evaluation().masks(), ElementsAre(CAUSAL, BCA));
  EXPECT_THAT(config.evaluation().lengths(),
              ElementsAre(256, 1024, 4096, 16384));
  EXPECT_THAT(config.evaluation().protocols(), ElementsAre(NON_OVERLAPPING));
  EXPECT_EQ(config.evaluation().block_size(), 128);
}

TEST(Resolve, LeavesGivenValuesAlone) {
  RunConfig config = Trainable(
      {"model.num_kv_heads=2", "model.head_dim=16", "model.ffn_hidden_size=100",
       "parallel.data=2", "data.micro_batch_size=4", "evaluation.masks=[BCA]",
       "evaluation.lengths=[77]", "evaluation.protocols=[PREFIX]",
       "evaluation.block_size=10"});
  ASSERT_TRUE(Resolve(&config, Purpose::kTrain, 2).ok());
  EXPECT_EQ(config.model().num_kv_heads(), 2);
  EXPECT_EQ(config.model().head_dim(), 16);
  EXPECT_EQ(config.model().ffn_hidden_size(), 100);
  EXPECT_EQ(config.parallel().data(), 2);
  EXPECT_EQ(config.data().micro_batch_size(), 4);
  EXPECT_THAT(config.evaluation().masks(), ElementsAre(BCA));
  EXPECT_THAT(config.evaluation().lengths(), ElementsAre(77));
  EXPECT_THAT(config.evaluation().protocols(), ElementsAre(PREFIX));
  EXPECT_EQ(config.evaluation().block_size(), 10);
}

TEST(Resolve, ChangesNothingTheSecondTime) {
  for (const Purpose purpose : {Purpose::kTrain, Purpose::kEvaluate}) {
    RunConfig once = Trainable();
    ASSERT_TRUE(Resolve(&once, purpose, 2).ok());
    RunConfig twice = once;
    ASSERT_TRUE(Resolve(&twice, purpose, 2).ok());
    EXPECT_TRUE(MessageDifferencer::Equals(once, twice));
    EXPECT_TRUE(MessageDifferencer::Equals(
        once, ParseRunConfig(RunConfigText(once), "text").value()));
  }
}

TEST(Resolve, AnErrorLeavesTheConfigurationAsItWas) {
  RunConfig config = Trainable({"model.num_layers=0"});
  const RunConfig before = config;
  EXPECT_FALSE(Resolve(&config, Purpose::kTrain, 1).ok());
  EXPECT_TRUE(MessageDifferencer::Equals(config, before));
}

TEST(Resolve, ReportsAllProblemsAtOnceOneALine) {
  EXPECT_EQ(
      UsageMessage(
          TrainStatus({"model.num_layers=-1", "schedule.warmup_steps=2000",
                       "optimizer.beta1=1", "model.head_dim=33"})),
      "model.num_layers = -1: expected at least 1 and at most 65536\n"
      "optimizer.beta1 = 1: expected more than 0 and less than 1\n"
      "model.head_dim = 33: expected an even number, because XPOS rotates "
      "pairs\n"
      "schedule.warmup_steps = 2000: expected at most schedule.num_steps = "
      "1000");
}

TEST(Resolve, ARefusedFieldCausesNoSecondComplaint) {
  EXPECT_EQ(UsageMessage(TrainStatus(
                {"schedule.num_steps=0", "schedule.warmup_steps=5000"})),
            "schedule.num_steps = 0: expected at least 1");
  EXPECT_EQ(UsageMessage(TrainStatus({"parallel.tensor=0"}, 5)),
            "parallel.tensor = 0: expected at least 1");
  EXPECT_EQ(
      UsageMessage(TrainStatus({"model.num_heads=0", "model.hidden_size=7"})),
      "model.num_heads = 0: expected at least 1 and at most 65536");
  EXPECT_EQ(UsageMessage(TrainStatus(
                {"schedule.warmup_steps=-1", "schedule.num_steps=10"})),
            "schedule.warmup_steps = -1: expected at least 0");
  EXPECT_THAT(
      UsageMessage(TrainStatus({"model.hidden_size=100", "model.num_heads=3"})),
      AllOf(StartsWith("model.hidden_size = 100"), Not(HasSubstr("\n"))));
  EXPECT_THAT(UsageMessage(TrainStatus(
                  {"parallel.data=3", "data.micro_batch_size=32"}, 2)),
              AllOf(StartsWith("parallel.data * "), Not(HasSubstr("\n"))));
}

struct Refused {
  std::string override;
  std::string field;
};

TEST(Resolve, RefusesNumbersOutOfRangeInTraining) {
  const std::vector<Refused> cases = {
      {"model.hidden_size=0", "model.hidden_size = 0"},
      {"model.hidden_size=-192", "model.hidden_size = -192"},
      {"model.num_heads=-6", "model.num_heads = -6"},
      {"model.num_kv_heads=-1", "model.num_kv_heads = -1"},
      {"model.head_dim=-2", "model.head_dim = -2"},
      {"model.ffn_hidden_size=-1", "model.ffn_hidden_size = -1"},
      {"model.ffn_hidden_size=2147483647",
       "model.ffn_hidden_size = 2147483647"},
      {"model.vocab_size=-1", "model.vocab_size = -1"},
      {"model.pad_vocab_to_multiple_of=0",
       "model.pad_vocab_to_multiple_of = 0"},
      {"model.training_length=0", "model.training_length = 0"},
      {"model.norm_epsilon=0", "model.norm_epsilon = 0"},
      {"model.embedding_scale=0", "model.embedding_scale = 0"},
      {"model.xpos_gamma=0", "model.xpos_gamma = 0"},
      {"model.xpos_scale_base=-1", "model.xpos_scale_base = -1"},
      {"model.xpos_scale_base=0.15", "model.xpos_scale_base = 0.15"},
      {"model.rotary_base=0", "model.rotary_base = 0"},
      {"model.init_std=0", "model.init_std = 0"},
      {"data.train=", "data.train = \"\""},
      {"data.global_batch_size=0", "data.global_batch_size = 0"},
      {"data.micro_batch_size=-1", "data.micro_batch_size = -1"},
      {"data.micro_batch_size=3", "data.micro_batch_size = 3"},
      {"data.micro_batch_size=32", "data.micro_batch_size = 32"},
      {"optimizer.beta1=0", "optimizer.beta1 = 0"},
      {"optimizer.beta2=1", "optimizer.beta2 = 1"},
      {"optimizer.epsilon=0", "optimizer.epsilon = 0"},
      {"optimizer.weight_decay=-0.1", "optimizer.weight_decay = -0.1"},
      {"optimizer.max_grad_norm=-1", "optimizer.max_grad_norm = -1"},
      {"optimizer.max_consecutive_skips=-1",
       "optimizer.max_consecutive_skips = -1"},
      {"optimizer.spike_z_threshold=-1", "optimizer.spike_z_threshold = -1"},
      {"optimizer.spike_z_threshold=0.5", "optimizer.spike_z_threshold = 0.5"},
      {"schedule.num_steps=-5", "schedule.num_steps = -5"},
      {"schedule.learning_rate=-1e-3", "schedule.learning_rate = -0.001"},
      {"schedule.min_learning_rate=-1", "schedule.min_learning_rate = -1"},
      {"schedule.min_learning_rate=1", "schedule.min_learning_rate = 1"},
      {"schedule.warmup_steps=-1", "schedule.warmup_steps = -1"},
      {"schedule.warmup_steps=1001", "schedule.warmup_steps = 1001"},
      {"parallel.data=-1", "parallel.data = -1"},
      {"parallel.context=0", "parallel.context = 0"},
      {"parallel.tensor=-2", "parallel.tensor = -2"},
      {"parallel.num_threads=-1", "parallel.num_threads = -1"},
      {"parallel.bucket_bytes=0", "parallel.bucket_bytes = 0"},
      {"parallel.replica_check_interval_steps=-1",
       "parallel.replica_check_interval_steps = -1"},
      {"parallel.timeout_seconds=-1", "parallel.timeout_seconds = -1"},
      {"parallel.timeout_seconds=0.5", "parallel.timeout_seconds = 0.5"},
      {"parallel.timeout_seconds=1e300", "parallel.timeout_seconds = 1e+300"},
      {"checkpoint.interval_steps=-1", "checkpoint.interval_steps = -1"},
      {"checkpoint.keep_last=1", "checkpoint.keep_last = 1"},
      {"checkpoint.keep_every=-1", "checkpoint.keep_every = -1"},
      {"checkpoint.interval_seconds=-1", "checkpoint.interval_seconds = -1"},
      {"evaluation.validation_interval_steps=-1",
       "evaluation.validation_interval_steps = -1"},
      {"evaluation.validation_samples=0", "evaluation.validation_samples = 0"},
      {"evaluation.lengths=[128, 0]", "evaluation.lengths = [128, 0]"},
      {"evaluation.block_size=-1", "evaluation.block_size = -1"},
      {"evaluation.window_size=-1", "evaluation.window_size = -1"},
      {"evaluation.num_sinks=0", "evaluation.num_sinks = 0"},
      {"evaluation.stride=-1", "evaluation.stride = -1"},
      {"evaluation.resolution_lengths=[0]",
       "evaluation.resolution_lengths = [0]"},
      {"evaluation.resolution_documents=0",
       "evaluation.resolution_documents = 0"},
      {"evaluation.rope_scaling=[YARN, YARN]",
       "evaluation.rope_scaling = [YARN, YARN]"},
      {"evaluation.validation_tokens=-1", "evaluation.validation_tokens = -1"},
      {"logging.interval_steps=0", "logging.interval_steps = 0"},
  };
  ASSERT_TRUE(TrainStatus({}).ok()) << TrainStatus({});
  for (const Refused& refused : cases) {
    EXPECT_THAT(UsageMessage(TrainStatus({refused.override})),
                AllOf(StartsWith(refused.field + ": "), Not(HasSubstr("\n"))))
        << refused.override;
  }
}

TEST(Resolve, TheLeastBaseOfXPosDependsOnGamma) {
  EXPECT_TRUE(TrainStatus({"model.xpos_scale_base=0.16"}).ok());
  EXPECT_EQ(
      UsageMessage(
          TrainStatus({"model.xpos_scale_base=2", "model.xpos_gamma=1e-10"})),
      "model.xpos_scale_base = 2: expected at least 2.878 with "
      "model.xpos_gamma = 1e-10 (from one position to the next the fastest "
      "pair may fade by at most e^-8)");
  EXPECT_TRUE(
      TrainStatus({"model.position_encoding=ROPE", "model.xpos_scale_base=0.1"})
          .ok());
}

TEST(Resolve, TheWatchdogIsOffAtZeroAndPatientForAtLeastASecond) {
  for (const char* allowed : {"0", "1", "60", "86400"}) {
    const std::string override =
        std::string("parallel.timeout_seconds=") + allowed;
    EXPECT_TRUE(TrainStatus({override}).ok()) << TrainStatus({override});
    EXPECT_TRUE(EvaluateStatus({override}).ok()) << EvaluateStatus({override});
  }
}

TEST(Resolve, RefusesNumbersThatAreNotFinite) {
  RunConfig config = Trainable();
  config.mutable_optimizer()->set_max_grad_norm(
      std::numeric_limits<double>::quiet_NaN());
  config.mutable_optimizer()->set_epsilon(
      std::numeric_limits<double>::infinity());
  config.mutable_optimizer()->set_spike_z_threshold(
      std::numeric_limits<double>::infinity());
  EXPECT_EQ(UsageMessage(Resolve(&config, Purpose::kTrain, 1)),
            "optimizer.epsilon = inf: expected more than 0\n"
            "optimizer.max_grad_norm = nan: expected at least 0\n"
            "optimizer.spike_z_threshold = inf: expected at least 0");
}

TEST(Resolve, TheBoundsThemselvesAreAllowed) {
  for (const char* override :
       {"data.micro_batch_size=16", "data.micro_batch_size=1",
        "optimizer.max_grad_norm=0", "optimizer.weight_decay=0",
        "schedule.learning_rate=1e-4", "schedule.warmup_steps=1000",
        "schedule.warmup_steps=0", "schedule.min_learning_rate=0",
        "checkpoint.interval_steps=0", "checkpoint.keep_last=2",
        "optimizer.spike_z_threshold=0", "optimizer.spike_z_threshold=1",
        "parallel.replica_check_interval_steps=0",
        "parallel.replica_check_interval_steps=1", "model.training_length=1",
        "model.training_length=255", "model.num_layers=1"}) {
    EXPECT_TRUE(TrainStatus({override}).ok()) << TrainStatus({override});
  }
}

TEST(Resolve, ACopyOfTheModelMustDivideIntoItsTensorRanks) {
  EXPECT_EQ(
      UsageMessage(TrainStatus({"parallel.tensor=4"}, 4)),
      "model.num_heads = 6: expected a multiple of parallel.tensor = 4 (choose "
      "another tensor degree or size)\n"
      "model.num_kv_heads = 6: expected a multiple of parallel.tensor = 4 "
      "(choose "
      "another tensor degree or size)");
  EXPECT_THAT(UsageMessage(TrainStatus(
                  {"parallel.tensor=3", "model.num_kv_heads=2"}, 3)),
              StartsWith("model.num_kv_heads = 2: expected a multiple of "
                         "parallel.tensor = 3"));
  EXPECT_THAT(UsageMessage(TrainStatus(
                  {"parallel.tensor=3", "model.ffn_hidden_size=100"}, 3)),
              StartsWith("model.ffn_hidden_size = 100: expected a multiple of "
                         "parallel.tensor = 3"));
  EXPECT_TRUE(
      TrainStatus({"parallel.tensor=3", "data.global_batch_size=15"}, 3).ok());
}

TEST(Resolve, HeadsMustFitTheWidthAndTheirGroups) {
  EXPECT_EQ(
      UsageMessage(TrainStatus({"model.num_heads=5"})),
      "model.hidden_size = 192: expected a multiple of model.num_heads = 5 (or "
      "set "
      "model.head_dim)");
  EXPECT_TRUE(TrainStatus({"model.num_heads=5", "model.head_dim=32"}).ok());
  EXPECT_THAT(UsageMessage(TrainStatus({"model.num_kv_heads=4"})),
              StartsWith("model.num_heads = 6: expected a multiple of "
                         "model.num_kv_heads = 4"));
  EXPECT_THAT(
      UsageMessage(
          TrainStatus({"model.position_encoding=ROPE", "model.head_dim=9"})),
      StartsWith("model.head_dim = 9: expected an even number, because ROPE"));
  EXPECT_TRUE(
      TrainStatus({"model.position_encoding=NONE", "model.head_dim=9"}).ok());
}

TEST(Resolve, TheMeshMustBeTheNumberOfRanks) {
  EXPECT_EQ(
      UsageMessage(TrainStatus({"parallel.data=2", "parallel.tensor=2"}, 3)),
      "parallel.data * parallel.context * parallel.tensor = 2 * 1 * 2: "
      "expected the world size, 3 (change mpirun -np, or set "
      "parallel.data=0 to use all ranks)");
  EXPECT_THAT(UsageMessage(TrainStatus({"parallel.tensor=2"}, 3)),
              StartsWith("parallel.context * parallel.tensor = 1 * 2: "
                         "expected a divisor of the world size, 3"));
  for (const char* data : {"parallel.data=1", "parallel.data=2147483647"}) {
    EXPECT_THAT(UsageMessage(TrainStatus({data}, 2)),
                HasSubstr("expected the world size, 2"));
  }
  EXPECT_TRUE(TrainStatus({"parallel.data=2", "parallel.tensor=2"}, 4).ok());
}

TEST(Resolve, OnlyTheEvaluatorSpreadsADocumentOverRanks) {
  EXPECT_THAT(UsageMessage(TrainStatus({"parallel.context=2"}, 2)),
              StartsWith("parallel.context = 2: expected 1 in training"));
  EXPECT_TRUE(EvaluateStatus({"parallel.context=2"}, 2).ok());
}

TEST(Resolve, SequenceRegionsSplitTheTrainingLength) {
  const char* odd = "model.training_length=257";
  EXPECT_TRUE(
      TrainStatus({odd, "evaluation.masks=[CAUSAL]", "parallel.tensor=2"}, 2)
          .ok());
  EXPECT_THAT(
      UsageMessage(
          TrainStatus({odd, "evaluation.masks=[CAUSAL]", "parallel.tensor=2",
                       "parallel.sequence_parallel=true"},
                      2)),
      StartsWith(
          "model.training_length = 257: expected a multiple of parallel.tensor "
          "= 2 (or set parallel.sequence_parallel=false)"));
  EXPECT_TRUE(
      TrainStatus({"parallel.tensor=2", "parallel.sequence_parallel=true"}, 2)
          .ok());
}

TEST(Resolve, EveryDataRankTakesAsManySamples) {
  EXPECT_THAT(
      UsageMessage(TrainStatus({}, 3)),
      StartsWith(
          "data.global_batch_size = 16: expected a multiple of parallel.data "
          "= 3"));
  EXPECT_THAT(
      UsageMessage(TrainStatus({"data.micro_batch_size=3"}, 2)),
      StartsWith(
          "data.micro_batch_size = 3: expected a divisor of the 8 samples"));
}

TEST(Resolve, EvaluationIgnoresWhatOnlyTrainingNeeds) {
  EXPECT_TRUE(
      EvaluateStatus(
          {"data.train=", "data.global_batch_size=5", "data.micro_batch_size=3",
           "schedule.warmup_steps=9999", "optimizer.beta1=7"},
          2)
          .ok());
}

TEST(Resolve, ABlockOfBcaMustFit) {
  EXPECT_THAT(
      UsageMessage(EvaluateStatus({"model.training_length=255"})),
      StartsWith("model.training_length = 255: expected an even number"));
  EXPECT_TRUE(
      EvaluateStatus({"model.training_length=255", "evaluation.block_size=127"})
          .ok());
  EXPECT_TRUE(
      EvaluateStatus({"model.training_length=255", "evaluation.masks=[CAUSAL]"})
          .ok());
  EXPECT_THAT(UsageMessage(EvaluateStatus({"evaluation.block_size=257"})),
              StartsWith("evaluation.block_size = 257: expected at most "
                         "model.training_length = 256"));
  EXPECT_THAT(UsageMessage(EvaluateStatus({"evaluation.segment_tokens=127"})),
              StartsWith("evaluation.segment_tokens = 127: expected at least "
                         "evaluation.block_size = 128"));
}

TEST(Resolve, AListHoldsNoValueTwice) {
  EXPECT_THAT(
      UsageMessage(EvaluateStatus({"evaluation.masks=[BCA, BCA]"})),
      StartsWith("evaluation.masks = [BCA, BCA]: expected no duplicates"));
  EXPECT_THAT(
      UsageMessage(EvaluateStatus({"evaluation.lengths=[4, 8, 4]"})),
      StartsWith("evaluation.lengths = [4, 8, 4]: expected no duplicates"));
}

TEST(Resolve, ALongListIsCheckedQuicklyAndRefusedInBrief) {
  RunConfig config = Trainable();
  for (int i = 0; i < 200'000; ++i) {
    config.mutable_evaluation()->add_lengths(i + 1);
  }
  const auto start = std::chrono::steady_clock::now();
  RunConfig resolved = config;
  EXPECT_TRUE(Resolve(&resolved, Purpose::kEvaluate, 1).ok());
  for (int64_t& length : *config.mutable_evaluation()->mutable_lengths()) {
    length = -length;
  }
  const std::string message =
      UsageMessage(Resolve(&config, Purpose::kEvaluate, 1));
  EXPECT_LT(message.size(), 5000u);
  EXPECT_THAT(message, AllOf(StartsWith("evaluation.lengths = [-1, -2, "),
                             HasSubstr("expected values of at least 1")));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST(PaddedVocab, IsTheNextMultiple) {
  ModelConfig model;
  model.set_pad_vocab_to_multiple_of(128);
  EXPECT_EQ(PaddedVocab(model), 0);
  model.set_vocab_size(1);
  EXPECT_EQ(PaddedVocab(model), 128);
  model.set_vocab_size(256);
  EXPECT_EQ(PaddedVocab(model), 256);
  model.set_vocab_size(50257);
  EXPECT_EQ(PaddedVocab(model), 50304);
}

TEST(Resolve, ThePaddedVocabularyMustDivideIntoTensorRanks) {
  const char* tensor = "parallel.tensor=3";
  // Not known yet: the data set's vocabulary is checked when it is filled in.
  EXPECT_TRUE(TrainStatus({tensor, "model.vocab_size=0"}, 3).ok());
  // Padded to 384.
  EXPECT_TRUE(TrainStatus({tensor, "model.vocab_size=257"}, 3).ok());
  EXPECT_THAT(UsageMessage(TrainStatus({tensor, "model.vocab_size=256"}, 3)),
              AllOf(StartsWith("model.vocab_size = 256: expected its padded "
                               "size 256 to be a multiple of "
                               "parallel.tensor = 3"),
                    HasSubstr("model.pad_vocab_to_multiple_of")));
}

TEST(Resolve, WindowsAndStridesAreDerivedForAnEvaluation) {
  RunConfig config;
  ASSERT_TRUE(ApplyOverrides(
                  {"model.training_length=128", "evaluation.lengths=[96, 512]"},
                  &config)
                  .ok());
  ASSERT_TRUE(Resolve(&config, Purpose::kEvaluate, 1).ok());
  EXPECT_EQ(config.evaluation().window_size(), 128);
  EXPECT_EQ(config.evaluation().stride(), 48);
  EXPECT_THAT(config.evaluation().rope_scaling(),
              ElementsAre(RopeScaling::NONE));
}

TEST(Resolve, AnEvaluationThatAMethodOrMaskCannotDoIsRefused) {
  const Refused cases[] = {
      {"evaluation.num_sinks=5", "evaluation.num_sinks = 5: expected at most"},
      {"evaluation.stride=33", "evaluation.stride = 33: expected at most"},
      {"model.position_encoding=ALIBI",
       "evaluation.rope_scaling = [YARN]: expected [NONE]"},
  };
  for (const Refused& refused : cases) {
    EXPECT_THAT(
        UsageMessage(EvaluateStatus(
            {"evaluation.masks=[WINDOW_AND_SINKS]", "evaluation.window_size=4",
             "evaluation.protocols=[SAME_TARGETS]",
             "evaluation.lengths=[32, 64]", "evaluation.rope_scaling=[YARN]",
             refused.override})),
        StartsWith(refused.field));
  }
  EXPECT_THAT(
      UsageMessage(TrainStatus({"model.position_encoding=LEARNED",
                                "evaluation.validation_tokens=10"})),
      StartsWith("evaluation.validation_tokens = 10: expected 0, because"));
  EXPECT_THAT(UsageMessage(TrainStatus(
                  {"model.position_encoding=SINUSOIDAL", "model.hidden_size=33",
                   "model.num_heads=1", "model.head_dim=8"})),
              HasSubstr("model.hidden_size = 33: expected an even number"));
}

}  // namespace
}  // namespace lextra

// The validation loss against a sum over the whole set that this file makes
// itself, one sample at a time in fp64.
#include "trainer/validator.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "config/resolve.h"
#include "data/token_file_writer.h"
#include "model/attention/attention.h"
#include "tests/testing/mpi_world.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::MakeMesh;
using testing::Session;

constexpr int64_t kEos = 99;
constexpr int64_t kLength = 16;
constexpr int kDocuments = 40;

// Documents of 1 to 60 random tokens: samples begin and end anywhere in them.
class ValidatorTest : public ::testing::Test {
 protected:
  ValidatorTest() {
    auto writer = TokenFileWriter::Create(Prefix(), {.tokenizer = "test",
                                                     .tokenizer_sha256 = "",
                                                     .vocab_size = 100,
                                                     .eos_id = kEos})
                      .value();
    std::mt19937 random(5);
    for (int d = 0; d < kDocuments; ++d) {
      std::vector<int32_t> tokens(1 + random() % 60);
      for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 99);
      EXPECT_TRUE(writer->Append(tokens).ok());
      EXPECT_TRUE(writer->EndDocument(std::ssize(tokens)).ok());
      stream_.insert(stream_.end(), tokens.begin(), tokens.end());
      stream_.push_back(kEos);
      document_of_.resize(stream_.size(), d);
    }
    TokenFileWriter* const writers[] = {writer.get()};
    EXPECT_TRUE(TokenFileWriter::Commit(writers).ok());
  }

  std::string Prefix() const { return folder_.path() + "/validation"; }
  int64_t num_samples() const { return (std::ssize(stream_) - 1) / kLength; }

  RunConfig Config(MeshShape layout) const {
    RunConfig config;
    ModelConfig* model = config.mutable_model();
    model->set_num_layers(2);
    model->set_hidden_size(32);
    model->set_num_heads(2);
    model->set_training_length(kLength);
    model->set_vocab_size(100);
    model->set_init_std(0.3);  // losses differ from sample to sample
    config.mutable_data()->set_global_batch_size(32);
    config.mutable_data()->set_train("none");
    config.mutable_data()->set_validation(Prefix());
    config.mutable_evaluation()->set_validation_samples(1000);
    config.mutable_evaluation()->add_lengths(8);
    config.mutable_parallel()->set_data(layout.data);
    config.mutable_parallel()->set_tensor(layout.tensor);
    return config;
  }

  // A validation of the initial weights.
  static ValidationLoss Validated(RunConfig config) {
    const MeshShape layout = {.data = config.parallel().data(),
                              .tensor = config.parallel().tensor()};
    EXPECT_EQ(Resolve(&config, Purpose::kTrain, Session().size()),
              absl::OkStatus());
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
    Transformer model(config.model(), mesh->tensor());
    TrainStep step(config, *mesh, model);
    return Validator::Create(config, *mesh, model, step)
        .value()
        ->Loss(0)
        .value();
  }

  static absl::Status CreateStatus(RunConfig config) {
    EXPECT_EQ(Resolve(&config, Purpose::kTrain, Session().size()),
              absl::OkStatus());
    const std::unique_ptr<DeviceMesh> mesh =
        MakeMesh({.data = Session().size()});
    Transformer model(config.model(), mesh->tensor());
    TrainStep step(config, *mesh, model);
    return Validator::Create(config, *mesh, model, step).status();
  }

  // The mean NLL of each of the set's samples.
  std::vector<double> SampleLosses() const {
    RunConfig config = Config({});
    EXPECT_EQ(Resolve(&config, Purpose::kTrain, 1), absl::OkStatus());
    const std::unique_ptr<Communicator> alone =
        Session().World()->Split(Session().rank(), 0, "alone");
    Transformer model(config.model(), *alone);
    const std::unique_ptr<PositionEncoding> positions =
        MakePositionEncoding(config.model(), kLength / 2, alone.get());
    CausalAttention attention(*positions, model.num_kv_heads());
    const at::NoGradGuard no_grad;
    std::vector<double> losses;
    for (int64_t i = 0; i < num_samples(); ++i) {
      const at::Tensor tokens = at::tensor(
          at::ArrayRef<int64_t>(stream_).slice(i * kLength, kLength + 1),
          at::kLong);
      const at::Tensor hidden_1TC =
          model(tokens.narrow(0, 0, kLength).unsqueeze(0), attention);
      const at::Tensor logits_TV =
          model.cross_entropy().Logits(hidden_1TC[0]).to(at::kDouble);
      const at::Tensor targets_T1 = tokens.narrow(0, 1, kLength).unsqueeze(1);
      losses.push_back(-at::log_softmax(logits_TV, 1)
                            .gather(1, targets_T1)
                            .mean()
                            .item<double>());
    }
    return losses;
  }

  testing::TemporaryFolder folder_;
  std::vector<int64_t> stream_;  // documents as stored, each closed by eos
  std::vector<int> document_of_;
};

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

TEST_F(ValidatorTest, OneNumberWhateverSeedLayoutAndMicroBatch) {
  const double expected = Mean(SampleLosses());
  const int ranks = Session().size();
  for (const MeshShape layout :
       {MeshShape{.data = ranks}, MeshShape{.tensor = ranks}}) {
    RunConfig config = Config(layout);
    const double loss = Validated(config).loss;
    EXPECT_NEAR(loss, expected, 1e-6);
    for (uint64_t seed = 2; seed <= 8; ++seed) {
      config.mutable_data()->set_shuffle_seed(seed);
      EXPECT_EQ(Validated(config).loss, loss) << seed;
    }
    for (const int micro_batch_size : {1, 16}) {
      config.mutable_data()->set_micro_batch_size(micro_batch_size);
      EXPECT_NEAR(Validated(config).loss, expected, 1e-6) << micro_batch_size;
    }
    config.mutable_parallel()->set_sequence_parallel(true);
    EXPECT_NEAR(Validated(config).loss, expected, 1e-6);
  }
}

TEST_F(ValidatorTest, AFewSamplesAreSpreadOverTheWholeSet) {
  const std::vector<double> all = SampleLosses();
  for (const int wanted : {1, 2, 7, 16}) {
    SCOPED_TRACE(wanted);
    RunConfig config = Config({.data = Session().size()});
    config.mutable_evaluation()->set_validation_samples(wanted);
    const ValidationLoss validation = Validated(config);
    std::vector<double> losses;
    std::vector<int64_t> first_documents;
    std::vector<int> documents;
    for (int64_t i = 0; i < wanted; ++i) {
      const int64_t sample = (2 * i + 1) * num_samples() / (2 * wanted);
      const auto targets = document_of_.begin() + sample * kLength + 1;
      losses.push_back(all[sample]);
      first_documents.push_back(*targets);
      documents.insert(documents.end(), targets, targets + kLength);
    }
    documents.erase(std::unique(documents.begin(), documents.end()),
                    documents.end());
    EXPECT_NEAR(validation.loss, Mean(losses), 1e-6);
    EXPECT_EQ(validation.samples, wanted);
    EXPECT_EQ(validation.samples_in_set, num_samples());
    EXPECT_EQ(validation.documents, std::ssize(documents));
    EXPECT_EQ(validation.documents_in_set, kDocuments);
    const std::optional<double> error =
        StandardErrorOverDocuments(losses, first_documents);
    ASSERT_EQ(validation.standard_error.has_value(), error.has_value());
    if (error) {
      EXPECT_NEAR(*validation.standard_error, *error, 1e-6);
    }
  }
}

TEST_F(ValidatorTest, LengthsBeyondEveryDocumentAreFoundBeforeTheFirstStep) {
  RunConfig config = Config({.data = Session().size()});
  config.mutable_evaluation()->set_validation_tokens(100);
  EXPECT_EQ(CreateStatus(config), absl::OkStatus());
  config.mutable_evaluation()->add_lengths(64);
  const absl::Status status = CreateStatus(config);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr("data.validation=" + Prefix()),
            HasSubstr("evaluation.lengths"), HasSubstr("more than 64 tokens"),
            HasSubstr("longest of 40 documents has ")));
  // They are not requested.
  config.mutable_evaluation()->set_validation_tokens(0);
  EXPECT_EQ(CreateStatus(config), absl::OkStatus());
}

TEST_F(ValidatorTest, TokensBeyondTheModelsVocabularyAreRefused) {
  RunConfig config = Config({.data = Session().size()});
  config.mutable_model()->set_vocab_size(99);
  const absl::Status status = CreateStatus(config);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr("data.validation=" + Prefix()),
            HasSubstr("token ids up to 99, but model.vocab_size = 99")));
}

TEST(EvenlySpread, TakesTheMiddlesOfEqualParts) {
  EXPECT_THAT(EvenlySpread(1, 9), ElementsAre(4));
  EXPECT_THAT(EvenlySpread(3, 9), ElementsAre(1, 4, 7));
  EXPECT_THAT(EvenlySpread(4, 10), ElementsAre(1, 3, 6, 8));
  EXPECT_THAT(EvenlySpread(3, 3), ElementsAre(0, 1, 2));
  EXPECT_THAT(EvenlySpread(9, 3), ElementsAre(0, 1, 2));
  const int64_t many = int64_t{1} << 60;
  EXPECT_THAT(EvenlySpread(4, many),
              ElementsAre(many / 8, many / 8 * 3, many / 8 * 5, many / 8 * 7));
}

TEST(StandardErrorOverDocuments, TakesDocumentsForTheDraws) {
  // Each sample in a document of its own: the usual error of a mean.
  const double losses[] = {1, 2, 3, 6};
  const int64_t apart[] = {0, 1, 2, 3};
  EXPECT_NEAR(*StandardErrorOverDocuments(losses, apart),
              std::sqrt((4 + 1 + 0 + 9) / 3.0 / 4), 1e-15);
  // Two documents, 2 x 1.5 nats below and above the mean.
  const int64_t halves[] = {4, 4, 8, 8};
  EXPECT_NEAR(*StandardErrorOverDocuments(losses, halves),
              std::sqrt(2 * (9.0 + 9)) / 4, 1e-15);
  const int64_t together[] = {4, 4, 4, 4};
  EXPECT_FALSE(StandardErrorOverDocuments(losses, together).has_value());
}

}  // namespace
}  // namespace lextra

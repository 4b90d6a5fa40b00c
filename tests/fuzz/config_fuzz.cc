// A configuration in text format, then overrides, one a line. What is accepted
// comes back the same from the text that is stored with a run, and resolving it
// ends, changes nothing the second time and keeps every size positive.
#include <google/protobuf/util/message_differencer.h>

#include "absl/strings/str_split.h"
#include "config/difference.h"
#include "config/load.h"
#include "config/model_facts.h"
#include "config/resolve.h"
#include "tests/fuzz/fuzz_input.h"

namespace lextra {
namespace {

using ::google::protobuf::util::MessageDifferencer;

void CheckResolved(const RunConfig& given, Purpose purpose, int world_size) {
  RunConfig config = given;
  const absl::Status status = Resolve(&config, purpose, world_size);
  if (!status.ok()) {
    fuzz::CheckRefusal(status, ExitCode::kUsage, /*many_lines=*/true);
    FUZZ_CHECK(MessageDifferencer::Equals(config, given));
    return;
  }
  RunConfig again = config;
  FUZZ_CHECK(Resolve(&again, purpose, world_size).ok());
  FUZZ_CHECK(MessageDifferencer::Equals(config, again));
  const ParallelConfig& mesh = config.parallel();
  FUZZ_CHECK(mesh.data() * mesh.context() * mesh.tensor() == world_size);
  FUZZ_CHECK(config.model().num_heads() % mesh.tensor() == 0);
  FUZZ_CHECK(PaddedVocab(config.model()) % mesh.tensor() == 0);
}

}  // namespace
}  // namespace lextra

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lextra;
  const auto parts = fuzz::Parts(fuzz::Text(data, size), 2);
  auto config = ParseRunConfig(parts[0], "fuzz");
  const auto stored = ParseStoredRunConfig(parts[0], "fuzz");
  if (config.ok()) {
    FUZZ_CHECK(stored.ok());
    FUZZ_CHECK(DifferingFields(*config, *stored).empty());
  }
  absl::Status status = config.status();
  if (status.ok() && !parts[1].empty()) {
    const std::vector<std::string> overrides = absl::StrSplit(parts[1], '\n');
    status = ApplyOverrides(overrides, &*config);
  }
  if (!status.ok()) {
    fuzz::CheckRefusal(status, ExitCode::kUsage);
    return 0;
  }
  const auto again = ParseRunConfig(RunConfigText(*config), "again");
  FUZZ_CHECK(again.ok());
  FUZZ_CHECK(DifferingFields(*config, *again).empty());
  FUZZ_CHECK(!RunConfigTable(*config).empty());
  CheckResolved(*config, Purpose::kTrain, /*world_size=*/1);
  CheckResolved(*config, Purpose::kEvaluate, /*world_size=*/12);
  return 0;
}

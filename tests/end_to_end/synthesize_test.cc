// lextra synthesize: data sets of a synthetic task.
#include <gmock/gmock.h>

#include <set>

#include "data/token_dataset.h"
#include "tests/end_to_end/lextra_program.h"

namespace lextra::testing {
namespace {

using ::testing::HasSubstr;

class SynthesizeTest : public EndToEndTest {
 protected:
  static Arguments Synthesize(const std::string& output,
                              const Arguments& more = {}) {
    return Lextra(Arguments{"synthesize", "--data=" + TrainData(),
                            "--output=" + Path(output), "--documents=50"} +
                  more);
  }

  static TokenDataset Open(const std::string& name) {
    absl::StatusOr<TokenDataset> opened = TokenDataset::Open(Path(name));
    EXPECT_TRUE(opened.ok()) << opened.status();
    return *std::move(opened);
  }

  // Without the closing eos.
  static std::string TextOf(const TokenDataset& data, int64_t document) {
    std::vector<int64_t> tokens(data.document_size(document) - 1);
    EXPECT_TRUE(data.Read(document, 0, tokens).ok());
    return {tokens.begin(), tokens.end()};
  }

  static void ExpectRefused(const Arguments& command, int exit_code,
                            const std::string& message) {
    const ProcessResult result = RunProcess(command, kLimitSeconds);
    EXPECT_EQ(result.exit_code, exit_code);
    EXPECT_THAT(result.output, HasSubstr(message));
  }
};

TEST_F(SynthesizeTest, EachDocumentStatesAPasskeyAtSomeDepthAndAsksForIt) {
  RunWell(Synthesize("keys", {"--length=300"}));
  const TokenDataset data = Open("keys");
  ASSERT_EQ(data.num_documents(), 50);
  std::set<std::string> keys;
  size_t nearest = 300;
  size_t furthest = 0;
  for (int64_t document = 0; document < 50; ++document) {
    EXPECT_EQ(data.document_size(document), 300);
    const std::string text = TextOf(data, document);
    const std::string key = text.substr(294);
    keys.insert(key);
    EXPECT_TRUE(text.ends_with("The pass key is " + key)) << text;
    const size_t stated = text.find("The pass key is " + key + ". Remember");
    ASSERT_NE(stated, std::string::npos) << text;
    nearest = std::min(nearest, 300 - stated);
    furthest = std::max(furthest, 300 - stated);
  }
  EXPECT_GT(keys.size(), 45u);
  EXPECT_LT(nearest, 120u);
  EXPECT_GT(furthest, 260u);
}

TEST_F(SynthesizeTest, InductionRepeatsItsFirstBytes) {
  RunWell(Synthesize("copies", {"--length=200", "--task=induction"}));
  const TokenDataset data = Open("copies");
  for (int64_t document = 0; document < data.num_documents(); ++document) {
    const std::string text = TextOf(data, document);
    EXPECT_EQ(text.substr(0, 16), text.substr(199 - 16));
  }
}

TEST_F(SynthesizeTest, TheSeedDecides) {
  RunWell(Synthesize("one"));
  RunWell(Synthesize("again"));
  RunWell(Synthesize("other", {"--seed=2"}));
  EXPECT_EQ(ReadText(Path("one.bin")), ReadText(Path("again.bin")));
  EXPECT_NE(ReadText(Path("one.bin")), ReadText(Path("other.bin")));
}

TEST_F(SynthesizeTest, RefusesWhatItCantMakeAndWritesNothing) {
  ExpectRefused(Synthesize("none", {"--task=sorting"}), 2,
                "--task=sorting: expected passkey or induction");
  ExpectRefused(Synthesize("none", {"--length=40"}), 2,
                "--length=40: expected at least 100");
  ExpectRefused(Synthesize("none", {"--length=100000000"}), 3,
                "no document has more than --length=100000000 tokens");
  ExpectRefused(Lextra({"synthesize", "--output=" + Path("none")}), 2,
                "--data is missing");
  EXPECT_FALSE(TokenDataset::Open(Path("none")).ok());
}

}  // namespace
}  // namespace lextra::testing

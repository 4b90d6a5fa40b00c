#include "evaluator/synthetic/synthetic_trials.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <random>
#include <span>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/seeds.h"

namespace lextra {
namespace {

constexpr int64_t kCopied = kInductionAnswers + 1;

void Append(const std::string& text, std::vector<int64_t>* tokens) {
  for (const char byte : text) {
    tokens->push_back(static_cast<unsigned char>(byte));
  }
}

void Append(const std::vector<int64_t>& filler, int64_t begin, int64_t count,
            std::vector<int64_t>* tokens) {
  tokens->insert(tokens->end(), filler.begin() + begin,
                 filler.begin() + begin + count);
}

}  // namespace

std::vector<int64_t> TrialFiller(const Documents& documents,
                                 const std::vector<int64_t>& long_documents,
                                 int64_t length, uint64_t seed) {
  std::mt19937_64 random(SeedFor(seed, "filler"));
  const int64_t document = long_documents[random() % long_documents.size()];
  // A document's last token closes it and is not text.
  const int64_t places = documents.size(document) - 1 - length;
  const auto begin = static_cast<int64_t>(random() % (places + 1));
  std::vector<int64_t> filler(length);
  const absl::Status status =
      documents.Read(document, begin, std::span(filler));
  TORCH_CHECK(status.ok(), std::string(status.message()));
  return filler;
}

SyntheticTrial PasskeyTrial(int64_t length, double depth,
                            const std::vector<int64_t>& filler, uint64_t seed) {
  std::mt19937_64 random(SeedFor(seed, "key"));
  const std::string key = absl::StrFormat("%05d", random() % 100000);
  std::vector<int64_t> statement;
  Append(absl::StrCat("\nThe pass key is ", key, ". Remember it.\n"),
         &statement);
  std::vector<int64_t> question;
  Append("\nWhat is the pass key? The pass key is ", &question);
  const int64_t room =
      length - std::ssize(statement) - std::ssize(question) - std::ssize(key);
  TORCH_CHECK(room >= 0, "a passkey in ", length, " tokens");
  const auto before = static_cast<int64_t>(std::lround(depth * room));
  SyntheticTrial trial;
  Append(filler, 0, before, &trial.tokens);
  trial.tokens.insert(trial.tokens.end(), statement.begin(), statement.end());
  Append(filler, before, room - before, &trial.tokens);
  trial.tokens.insert(trial.tokens.end(), question.begin(), question.end());
  trial.first_answer = std::ssize(trial.tokens);
  Append(key, &trial.tokens);
  return trial;
}

SyntheticTrial InductionTrial(int64_t length,
                              const std::vector<int64_t>& filler,
                              uint64_t seed) {
  std::mt19937_64 random(SeedFor(seed, "copied"));
  std::vector<int64_t> letters;
  for (char letter = '0'; letter <= 'z'; ++letter) letters.push_back(letter);
  std::shuffle(letters.begin(), letters.end(), random);
  TORCH_CHECK(length >= 2 * kCopied, "an induction task in ", length,
              " tokens");
  SyntheticTrial trial;
  Append(letters, 0, kCopied, &trial.tokens);
  Append(filler, 0, length - 2 * kCopied, &trial.tokens);
  // The first byte of the copy is not predictable.
  trial.first_answer = std::ssize(trial.tokens) + 1;
  Append(letters, 0, kCopied, &trial.tokens);
  return trial;
}

}  // namespace lextra

#include "evaluator/report_data.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/files.h"

namespace lextra {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxBytes = int64_t{1} << 30;

// Names in the order in which a person looks for them.
constexpr std::pair<const char*, const char*> kMethods[] = {
    {"XPOS", "xPos"},       {"ROPE", "RoPE"},
    {"ALIBI", "ALiBi"},     {"SINUSOIDAL", "sinusoidal"},
    {"LEARNED", "learned"}, {"NONE", "NoPE"}};
constexpr std::pair<const char*, const char*> kExtensions[] = {
    {"interpolation", "interpolation"}, {"ntk", "NTK"}, {"yarn", "YaRN"}};

template <typename List>
std::string NameIn(const List& list, const std::string& key) {
  for (const auto& [from, to] : list) {
    if (key == from) return to;
  }
  return key;
}

template <typename List>
int64_t PlaceIn(const List& list, const std::string& name) {
  int64_t place = 0;
  for (const auto& [from, to] : list) {
    if (name == to) return place;
    ++place;
  }
  return place;
}

// Results that are JSON, but not such as can be merged.
class BadResults : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Non-finite numbers are texts.
double Number(const Json& json) {
  if (!json.is_string()) return json.get<double>();
  const auto text = json.get<std::string>();
  if (text == "inf") return std::numeric_limits<double>::infinity();
  if (text == "-inf") return -std::numeric_limits<double>::infinity();
  if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
  throw BadResults(absl::StrCat("a number is '", text, "'"));
}

// Seeds are 64-bit and may be numbers or texts.
std::string TextOf(const Json& json) {
  return json.is_string() ? json.get<std::string>() : json.dump();
}

// Blocks of BCA are named where they are not half the training length.
std::string MaskOf(const Json& row, int64_t training_length) {
  const auto kind = row.at("mask").get<std::string>();
  std::string mask = kind == "causal" ? "plain" : kind == "bca" ? "BCA" : kind;
  if (row.contains("block") &&
      2 * row["block"].get<int64_t>() != training_length) {
    absl::StrAppend(&mask, " ", row["block"].get<int64_t>());
  }
  if (row.contains("window")) {
    const std::string sinks =
        row.contains("sinks") ? absl::StrCat(row["sinks"].get<int64_t>(), "+")
                              : "";
    absl::StrAppend(&mask, " ", sinks, row["window"].get<int64_t>());
  }
  if (row.contains("extension")) {
    absl::StrAppend(
        &mask, " + ", NameIn(kExtensions, row["extension"].get<std::string>()),
        row.at("exponent_extended").get<bool>() ? " with exponent" : "");
  }
  return mask;
}

// A mean that grows by one value after another.
void AddToMean(double* mean, double value, int64_t count) {
  if (std::isfinite(*mean) && std::isfinite(value)) {
    *mean += (value - *mean) / static_cast<double>(count);
  } else {
    *mean += value;
  }
}

class Merger {
 public:
  void Add(const std::string& path, const Json& json) {
    const Json& config = json.at("config");
    const Json& model = config.at("model");
    const Json& data = json.at("data");
    ReportRun run = {
        .path = path,
        .method = NameIn(kMethods, model.at("position").get<std::string>()),
        .checkpoint = json.at("checkpoint").at("path").get<std::string>(),
        .step = json.at("checkpoint").at("step").get<int64_t>(),
        .training_length = model.at("training_length").get<int64_t>(),
        .init_seed = TextOf(model.at("init_seed")),
        .shuffle_seed = TextOf(config.at("data").at("shuffle_seed")),
        .tokenizer = json.at("tokenizer").at("name").get<std::string>(),
        .data = data.at("path").get<std::string>(),
        .data_documents = data.at("documents").get<int64_t>(),
        .data_tokens = data.at("tokens").get<int64_t>(),
        .versions = json.at("versions").get<std::string>(),
        .command = json.at("command").get<std::string>(),
        .date = json.at("date").get<std::string>()};
    CheckLikeTheFirst(run);
    const std::string seeds =
        absl::StrCat(run.init_seed, "/", run.shuffle_seed);
    for (const Json& row : json.at("results")) AddRow(run, seeds, row);
    if (json.contains("resolution")) {
      for (const Json& row : json["resolution"]) AddResolution(run, row);
    }
    if (json.contains("synthetic")) {
      for (const Json& row : json["synthetic"]) AddSynthetic(run, row);
    }
    runs_.push_back(std::move(run));
  }

  ReportData Take() {
    ReportData data = {.runs = std::move(runs_)};
    for (auto& [key, row] : rows_) data.rows.push_back(std::move(row));
    for (auto& [key, row] : resolution_) {
      data.resolution.push_back(std::move(row));
    }
    for (auto& [key, row] : synthetic_) {
      data.synthetic.push_back(std::move(row));
    }
    if (!data.runs.empty()) {
      data.training_length = data.runs[0].training_length;
    }
    return data;
  }

 private:
  // Rows are merged by what they are, so all runs must be about the same.
  void CheckLikeTheFirst(const ReportRun& run) const {
    if (runs_.empty()) return;
    const ReportRun& first = runs_[0];
    if (run.training_length != first.training_length) {
      throw BadResults(absl::StrCat(
          "its training length is ", run.training_length, ", that of ",
          first.path, " ", first.training_length, ": make a report for each"));
    }
    if (run.data_documents != first.data_documents ||
        run.data_tokens != first.data_tokens) {
      throw BadResults(
          absl::StrCat("its data set has ", run.data_documents,
                       " documents and ", run.data_tokens, " tokens, that of ",
                       first.path, " ", first.data_documents, " and ",
                       first.data_tokens, ": make a report for each"));
    }
  }

  // One result of a run for each row: another would be another checkpoint's.
  void CheckNew(bool is_new, const ReportRun& run, const std::string& row) {
    if (is_new) return;
    throw BadResults(absl::StrCat(
        row, " of ", run.method, " with seeds ", run.init_seed, " and ",
        run.shuffle_seed,
        " is in an earlier file, too: give each evaluation once, and one "
        "checkpoint of a run"));
  }

  // Plain first, then other masks, then those with extensions.
  static std::pair<int64_t, std::string> OrderOf(const std::string& mask) {
    const bool is_extended = mask.find(" + ") != std::string::npos;
    const int64_t kind = mask.starts_with("plain")    ? 0
                         : mask.starts_with("BCA")    ? 1
                         : mask.starts_with("window") ? 2
                                                      : 3;
    return {is_extended ? 10 + kind : kind, mask};
  }

  void AddRow(const ReportRun& run, const std::string& seeds,
              const Json& json) {
    const std::string mask = MaskOf(json, run.training_length);
    const auto protocol = json.at("protocol").get<std::string>();
    const auto length = json.at("length").get<int64_t>();
    const int64_t stride = json.value("stride", int64_t{0});
    ReportRow& row = rows_[{protocol, OrderOf(mask),
                            PlaceIn(kMethods, run.method), length, stride}];
    const double nll = Number(json.at("nll"));
    CheckNew(row.nll_of_run.emplace(seeds, nll).second, run,
             absl::StrCat(protocol, " ", mask, " at ", length));
    const int64_t count = std::ssize(row.nll_of_run);
    row.method = run.method;
    row.mask = mask;
    row.protocol = protocol;
    row.length = length;
    if (stride > 0) row.stride = stride;
    row.tokens = json.at("tokens").get<int64_t>();
    row.documents = json.at("documents").get<int64_t>();
    AddToMean(&row.nll, nll, count);
    const auto add = [&](double* mean, const char* name) {
      AddToMean(mean, Number(json.at(name)), count);
    };
    add(&row.standard_error, "standard_error");
    add(&row.bits_per_byte, "bits_per_byte");
    add(&row.keys_per_token, "keys_per_token");
    if (json.contains("tokens_per_second")) {
      row.tokens_per_second = row.tokens_per_second.value_or(0);
      AddToMean(&*row.tokens_per_second, Number(json["tokens_per_second"]),
                ++row.num_timed_runs);
    }
    if (!json.contains("by_place")) return;
    row.by_place.resize(json["by_place"].size());
    for (size_t i = 0; i < row.by_place.size(); ++i) {
      const Json& bin = json["by_place"][i];
      row.by_place[i].first = bin.at("first").get<int64_t>();
      row.by_place[i].last = bin.at("last").get<int64_t>();
      AddToMean(&row.by_place[i].nll, Number(bin.at("nll")), count);
    }
  }

  void AddResolution(const ReportRun& run, const Json& json) {
    const std::string mask = MaskOf(json, run.training_length);
    const auto length = json.at("length").get<int64_t>();
    ReportResolution& row =
        resolution_[{length, OrderOf(mask), PlaceIn(kMethods, run.method)}];
    row.method = run.method;
    row.mask = mask;
    row.length = length;
    row.documents = json.at("documents").get<int64_t>();
    row.distances = json.at("distances").get<std::vector<int64_t>>();
    ++row.runs;
    AddToMean(&row.resolution, Number(json.at("resolution")), row.runs);
    if (json.contains("spread")) {
      if (!row.spread) row.spread = 0;
      AddToMean(&*row.spread, Number(json["spread"]), row.runs);
    }
    const Json& layers = json.at("layers");
    row.by_layer.resize(layers.size());
    row.mean_scores.resize(row.distances.size());
    std::vector<double> scores(row.distances.size());
    for (size_t layer = 0; layer < layers.size(); ++layer) {
      AddToMean(&row.by_layer[layer], Number(layers[layer].at("resolution")),
                row.runs);
      for (size_t i = 0; i < scores.size(); ++i) {
        AddToMean(&scores[i], Number(layers[layer].at("s_hat").at(i)),
                  static_cast<int64_t>(layer) + 1);
      }
    }
    for (size_t i = 0; i < scores.size(); ++i) {
      AddToMean(&row.mean_scores[i], scores[i], row.runs);
    }
  }

  void AddSynthetic(const ReportRun& run, const Json& json) {
    const std::string mask = MaskOf(json, run.training_length);
    const auto task = json.at("task").get<std::string>();
    const auto length = json.at("length").get<int64_t>();
    const double depth = json.value("depth", 0.0);
    ReportSynthetic& row = synthetic_[{
        task, OrderOf(mask), PlaceIn(kMethods, run.method), length, depth}];
    row.task = task;
    row.method = run.method;
    row.mask = mask;
    row.length = length;
    row.depth = depth;
    if (json.at("trials").get<int64_t>() < 1) {
      throw BadResults(absl::StrCat(task, " without trials"));
    }
    row.trials += json.at("trials").get<int64_t>();
    row.correct += json.at("correct").get<int64_t>();
  }

  using MaskOrder = std::pair<int64_t, std::string>;
  std::vector<ReportRun> runs_;
  std::map<std::tuple<std::string, MaskOrder, int64_t, int64_t, int64_t>,
           ReportRow>
      rows_;
  std::map<std::tuple<int64_t, MaskOrder, int64_t>, ReportResolution>
      resolution_;
  std::map<std::tuple<std::string, MaskOrder, int64_t, int64_t, double>,
           ReportSynthetic>
      synthetic_;
};

// The results of the newest step in `folder`; empty if there are none.
std::string ResultsOfNewestStep(const std::string& folder) {
  namespace fs = std::filesystem;
  std::pair<int64_t, std::string> newest = {-1, ""};
  const absl::StatusOr<std::vector<std::string>> names = ListFolder(folder);
  if (!names.ok()) return "";
  for (const std::string& name : *names) {
    absl::string_view digits = name;
    int64_t step = 0;
    if (!absl::ConsumePrefix(&digits, "step-") ||
        !absl::SimpleAtoi(digits, &step)) {
      continue;
    }
    const std::string results =
        absl::StrCat(folder, "/", name, "/results.json");
    std::error_code ignored;
    if (fs::is_regular_file(results, ignored)) {
      newest = std::max(newest, {step, results});
    }
  }
  return newest.second;
}

absl::StatusOr<std::string> ResultsPath(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  for (const std::string& candidate :
       {path, path + "/results.json", ResultsOfNewestStep(path + "/eval"),
        path + "/eval/results.json", ResultsOfNewestStep(path)}) {
    if (fs::is_regular_file(candidate, ignored)) return candidate;
  }
  return InputError(absl::StrCat(
      path,
      ": is neither a results.json nor a folder with results.json, "
      "eval/step-*/results.json or eval/results.json in it; lextra evaluate "
      "writes them"));
}

}  // namespace

double ReportRow::SeedDeviation() const {
  const auto count = static_cast<double>(nll_of_run.size());
  if (count < 2) return std::numeric_limits<double>::quiet_NaN();
  double squares = 0;
  for (const auto& [seeds, value] : nll_of_run) {
    squares += (value - nll) * (value - nll);
  }
  return std::sqrt(squares / (count - 1));
}

absl::StatusOr<ReportData> ReadReportData(
    const std::vector<std::string>& paths) {
  Merger merger;
  for (const std::string& path : paths) {
    LEXTRA_ASSIGN_OR_RETURN(const std::string file, ResultsPath(path));
    LEXTRA_ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kMaxBytes));
    try {
      merger.Add(file, Json::parse(text));
    } catch (const std::exception& error) {
      return InputError(
          absl::StrCat(file, ": can't be merged: ", error.what()));
    }
  }
  return merger.Take();
}

}  // namespace lextra

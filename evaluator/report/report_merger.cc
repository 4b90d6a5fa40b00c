#include "evaluator/report/report_merger.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/json_number.h"
#include "config/json.h"
#include "evaluator/report/report_names.h"

namespace lextra {
namespace {

using Json = nlohmann::json;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double Number(const Json& json) {
  const std::optional<double> number = NumberOfJson(json);
  if (!number) {
    throw BadResults(absl::StrCat("expected a number, got ", json.dump()));
  }
  return *number;
}

RunConfig ConfigOf(const Json& json) {
  const absl::StatusOr<RunConfig> config = ParseStoredRunConfigJson(json);
  if (!config.ok()) throw BadResults(std::string(config.status().message()));
  return *config;
}

// Running mean; `count` values including this one.
void AddToMean(double* mean, double value, int64_t count) {
  if (std::isfinite(*mean) && std::isfinite(value)) {
    *mean += (value - *mean) / static_cast<double>(count);
  } else {
    *mean += value;
  }
}

// A number that all runs of a row must share because their settings are equal.
void CheckShared(const char* what, int64_t first, int64_t here,
                 const std::string& row, const std::string& first_file) {
  if (first == here) return;
  throw BadResults(absl::StrCat(
      row, " has ", here, " ", what, ", that of ", first_file, " has ", first,
      ", with equal settings: they cannot be of the same documents; make "
      "separate reports"));
}

}  // namespace

void ReportMerger::Add(const std::string& path, const Json& json) {
  Source source;
  source.config = ConfigOf(json.at("config"));
  const ModelConfig& model = source.config.model();
  const Json& data = json.at("data");
  const Json& checkpoint = json.at("checkpoint");
  ReportRun& run = source.run;
  run = {.path = path,
         .method = MethodName(model.position_encoding()),
         .checkpoint = checkpoint.at("path").get<std::string>(),
         .step = checkpoint.at("step").get<int64_t>(),
         .training_length = model.training_length(),
         .init_seed = absl::StrCat(model.init_seed()),
         .shuffle_seed = absl::StrCat(source.config.data().shuffle_seed()),
         .tokenizer = json.at("tokenizer").at("name").get<std::string>(),
         .data = data.at("path").get<std::string>(),
         .data_documents = data.at("documents").get<int64_t>(),
         .data_tokens = data.at("tokens").get<int64_t>(),
         .data_digest = data.value("digest", ""),
         .versions = json.at("versions").get<std::string>(),
         .command = json.at("command").get<std::string>(),
         .date = json.at("date").get<std::string>()};
  CheckLikeTheFirst(run);
  source.series = run.series = SeriesOf(run, source.config);
  source.seeds = absl::StrCat(run.init_seed, "/", run.shuffle_seed);
  CheckSeeds(source, checkpoint.value("id", ""));
  series_[source.series].seeds.insert(source.seeds);
  for (const Json& row : json.at("results")) AddRow(source, row);
  if (json.contains("resolution")) {
    for (const Json& row : json["resolution"]) AddResolution(source, row);
  }
  if (json.contains("synthetic")) {
    for (const Json& row : json["synthetic"]) AddSynthetic(source, row);
  }
  runs_.push_back(std::move(run));
}

// Rows are merged by their keys, so all runs must be of the same data.
void ReportMerger::CheckLikeTheFirst(const ReportRun& run) const {
  if (runs_.empty()) return;
  const ReportRun& first = runs_[0];
  if (run.training_length != first.training_length) {
    throw BadResults(absl::StrCat(
        "its training length is ", run.training_length, ", that of ",
        first.path, " is ", first.training_length, "; make separate reports"));
  }
  if (run.data_documents != first.data_documents ||
      run.data_tokens != first.data_tokens) {
    throw BadResults(
        absl::StrCat("its data set has ", run.data_documents, " documents and ",
                     run.data_tokens, " tokens, that of ", first.path, " has ",
                     first.data_documents, " and ", first.data_tokens,
                     "; make separate reports"));
  }
  if (!run.data_digest.empty() && !first.data_digest.empty() &&
      run.data_digest != first.data_digest) {
    throw BadResults(absl::StrCat(
        "its data set has as many documents and tokens as that of ", first.path,
        ", but a different digest, ", run.data_digest, " instead of ",
        first.data_digest, "; make separate reports"));
  }
}

size_t ReportMerger::SeriesOf(const ReportRun& run, const RunConfig& config) {
  Settings settings = RunSettings(config, run.step, run.tokenizer);
  const auto found = std::ranges::find_if(series_, [&](const auto& series) {
    return series.method == run.method && series.settings == settings;
  });
  if (found != series_.end()) return found - series_.begin();
  series_.push_back({.method = run.method, .settings = std::move(settings)});
  return series_.size() - 1;
}

// Parts of one evaluation may be in several files; two trainings with the same
// seeds are not two draws.
void ReportMerger::CheckSeeds(const Source& source,
                              const std::string& checkpoint_id) {
  const ReportRun& run = source.run;
  const auto [found, is_new] = file_of_seeds_.try_emplace(
      std::make_pair(source.series, source.seeds),
      FirstFile{.path = run.path, .checkpoint_id = checkpoint_id});
  if (is_new || found->second.checkpoint_id == checkpoint_id) return;
  throw BadResults(absl::StrCat(
      "its settings and its seeds, ", run.init_seed, " and ", run.shuffle_seed,
      ", are those of ", found->second.path,
      ", but not its checkpoint; remove one of the two runs, or train with "
      "other seeds"));
}

// At most one result per run and row.
template <typename Row>
void ReportMerger::Claim(const Source& source, const std::string& name,
                         Growing<Row>* growing) const {
  const ReportRun& run = source.run;
  const auto [found, is_new] =
      growing->file_of_run.emplace(source.seeds, run.path);
  if (is_new) {
    growing->row.series = source.series;
    growing->row.method = run.method;
    if (growing->first_file.empty()) growing->first_file = run.path;
    return;
  }
  throw BadResults(absl::StrCat(name, " of ", run.method, " with seeds ",
                                run.init_seed, " and ", run.shuffle_seed,
                                " is in ", found->second,
                                " too; give each evaluation once"));
}

void ReportMerger::AddRow(const Source& source, const Json& json) {
  const std::string mask = MaskNameOf(json, source.run.training_length);
  const auto protocol = json.at("protocol").get<std::string>();
  const auto length = json.at("length").get<int64_t>();
  const int64_t stride = json.value("stride", int64_t{0});
  const Settings targets = TargetSettings(source.config.evaluation(), protocol);
  Growing<ReportRow>& growing =
      rows_[{protocol, OrderOfMask(mask), PlaceOfMethod(source.run.method),
             source.series, targets, length, stride}];
  const std::string name = absl::StrCat(protocol, " ", mask, " at ", length);
  Claim(source, name, &growing);
  ReportRow& row = growing.row;
  const double nll = Number(json.at("nll"));
  row.nll_of_run.emplace(source.seeds, nll);
  const int64_t count = std::ssize(row.nll_of_run);
  if (count == 1) {
    row.targets = targets;
    row.mask = mask;
    row.protocol = protocol;
    row.length = length;
    if (stride > 0) row.stride = stride;
    row.tokens = json.at("tokens").get<int64_t>();
    row.documents = json.at("documents").get<int64_t>();
    row.tokens_per_second = kNone;
  }
  CheckShared("tokens", row.tokens, json.at("tokens").get<int64_t>(), name,
              growing.first_file);
  CheckShared("documents", row.documents, json.at("documents").get<int64_t>(),
              name, growing.first_file);
  AddToMean(&row.nll, nll, count);
  const auto add = [&](double* mean, const char* field) {
    AddToMean(mean, Number(json.at(field)), count);
  };
  add(&row.standard_error, "standard_error");
  add(&row.bits_per_byte, "bits_per_byte");
  row.bytes_are_average |= json.value("bytes_are_average", false);
  add(&row.keys_per_token, "keys_per_token");
  AddSpeed(json, source.config.parallel().ShortDebugString(), &growing);
  if (json.contains("by_place")) AddPlaces(json["by_place"], &row);
}

// A run has a speed if it has scored something; the mean exists if all of these
// had the same layout.
void ReportMerger::AddSpeed(const Json& json, const std::string& layout,
                            Growing<ReportRow>* growing) const {
  if (!json.contains("tokens_per_second")) return;
  double& mean = growing->row.tokens_per_second;
  if (growing->timed_runs++ == 0) {
    growing->layout = layout;
    mean = 0;
  }
  AddToMean(
      &mean,
      layout == growing->layout ? Number(json["tokens_per_second"]) : kNone,
      growing->timed_runs);
}

// Not every run has every bin: each bin has its own mean.
void ReportMerger::AddPlaces(const Json& bins, ReportRow* row) const {
  std::vector<ReportPlace>& places = row->by_place;
  for (const Json& bin : bins) {
    const auto first = bin.at("first").get<int64_t>();
    const auto last = bin.at("last").get<int64_t>();
    auto place = std::ranges::lower_bound(
        places, std::pair(first, last), {},
        [](const ReportPlace& one) { return std::pair(one.first, one.last); });
    if (place == places.end() || place->first != first || place->last != last) {
      place = places.insert(place, {.first = first, .last = last});
    }
    AddToMean(&place->nll, Number(bin.at("nll")), ++place->runs);
  }
}

void ReportMerger::AddResolution(const Source& source, const Json& json) {
  const std::string mask = MaskNameOf(json, source.run.training_length);
  const auto length = json.at("length").get<int64_t>();
  const auto documents = json.at("documents").get<int64_t>();
  const Settings targets = {{"documents", absl::StrCat(documents)}};
  Growing<ReportResolution>& growing =
      resolution_[{length, OrderOfMask(mask), PlaceOfMethod(source.run.method),
                   source.series, targets}];
  const std::string name =
      absl::StrCat("the resolution of ", mask, " at ", length);
  Claim(source, name, &growing);
  ReportResolution& row = growing.row;
  const auto distances = json.at("distances").get<std::vector<int64_t>>();
  const Json& layers = json.at("layers");
  if (++row.runs == 1) {
    row.targets = targets;
    row.mask = mask;
    row.length = length;
    row.documents = documents;
    row.distances = distances;
    row.by_layer.resize(layers.size());
    row.mean_scores.resize(distances.size());
    if (json.contains("spread")) row.spread = 0;
  }
  CheckShared("layers", std::ssize(row.by_layer), std::ssize(layers), name,
              growing.first_file);
  CheckShared("spreads", row.spread.has_value(), json.contains("spread"), name,
              growing.first_file);
  if (row.distances != distances) {
    throw BadResults(absl::StrCat(
        name, " has different distances from that of ", growing.first_file));
  }
  AddToMean(&row.resolution, Number(json.at("resolution")), row.runs);
  if (row.spread) AddToMean(&*row.spread, Number(json["spread"]), row.runs);
  std::vector<double> scores(distances.size());
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

void ReportMerger::AddSynthetic(const Source& source, const Json& json) {
  const std::string mask = MaskNameOf(json, source.run.training_length);
  const auto task = json.at("task").get<std::string>();
  const auto length = json.at("length").get<int64_t>();
  const double depth = json.value("depth", 0.0);
  const auto trials = json.at("trials").get<int64_t>();
  if (trials < 1) throw BadResults(absl::StrCat(task, " without trials"));
  const Settings targets = {{"trials", absl::StrCat(trials)}};
  Growing<ReportSynthetic>& growing =
      synthetic_[{task, OrderOfMask(mask), PlaceOfMethod(source.run.method),
                  source.series, targets, length, depth}];
  Claim(source, absl::StrCat(task, " ", mask, " at ", length), &growing);
  ReportSynthetic& row = growing.row;
  row.targets = targets;
  row.task = task;
  row.mask = mask;
  row.length = length;
  row.depth = depth;
  ++row.runs;
  row.trials += trials;
  row.correct += json.at("correct").get<int64_t>();
}

void ReportMerger::SetDifferences() {
  std::vector<MethodSettings> all;
  for (const ReportSeries& series : series_) {
    all.push_back({.method = series.method, .settings = series.settings});
  }
  const std::vector<std::string> texts = DifferenceTexts(all);
  for (size_t i = 0; i < series_.size(); ++i) {
    series_[i].differences = texts[i];
  }
}

// Rows of one kind (a protocol, a task) are distinguished by series and, if
// that is ambiguous, by their targets.
template <typename Row, typename KindOf>
void ReportMerger::SetLabels(std::vector<Row>* rows, KindOf kind_of) const {
  std::map<std::string, std::set<MethodSettings>> lines_of_kind;
  const auto line_of = [&](const Row& row) {
    return MethodSettings{
        .method = LabelText(row.method, series_[row.series].differences),
        .settings = row.targets};
  };
  for (const Row& row : *rows) lines_of_kind[kind_of(row)].insert(line_of(row));
  std::map<std::pair<std::string, MethodSettings>, std::string> labels;
  for (const auto& [kind, lines] : lines_of_kind) {
    const std::vector<MethodSettings> all(lines.begin(), lines.end());
    const std::vector<std::string> texts = DifferenceTexts(all);
    for (size_t i = 0; i < all.size(); ++i) {
      labels[{kind, all[i]}] = LabelText(all[i].method, texts[i]);
    }
  }
  for (Row& row : *rows) row.label = labels.at({kind_of(row), line_of(row)});
}

ReportData ReportMerger::Take() {
  SetDifferences();
  ReportData data = {.runs = std::move(runs_)};
  const auto take = [](auto* growing, auto* rows) {
    for (auto& [key, one] : *growing) rows->push_back(std::move(one.row));
  };
  take(&rows_, &data.rows);
  take(&resolution_, &data.resolution);
  take(&synthetic_, &data.synthetic);
  SetLabels(&data.rows, [](const ReportRow& row) { return row.protocol; });
  SetLabels(&data.resolution, [](const auto&) { return std::string(); });
  SetLabels(&data.synthetic,
            [](const ReportSynthetic& row) { return row.task; });
  data.series = std::move(series_);
  if (!data.runs.empty()) {
    data.training_length = data.runs[0].training_length;
  }
  return data;
}

}  // namespace lextra

// Results of several evaluations become rows of a report, each the mean over
// the runs of one series (report_series.h).
#ifndef LEXTRA_EVALUATOR_REPORT_REPORT_MERGER_H_
#define LEXTRA_EVALUATOR_REPORT_REPORT_MERGER_H_

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "evaluator/report/report_data.h"

namespace lextra {

// Valid JSON that can't be merged.
class BadResults : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

class ReportMerger {
 public:
  // Takes a results.json. Throws BadResults or nlohmann's exceptions, and is
  // unusable after that.
  void Add(const std::string& path, const nlohmann::json& json);
  ReportData Take();

 private:
  // A row being accumulated.
  template <typename Row>
  struct Growing {
    Row row;
    std::map<std::string, std::string> file_of_run = {};  // by seeds
    std::string first_file = "";
    // Runs that report a speed, and the rank layout of the first of these.
    int64_t timed_runs = 0;
    std::string layout = "";
  };
  // The run that is being added.
  struct Source {
    ReportRun run;
    RunConfig config;
    size_t series = 0;
    std::string seeds;
  };
  struct FirstFile {
    std::string path;
    std::string checkpoint_id;
  };
  using MaskOrder = std::pair<int64_t, std::string>;

  void CheckLikeTheFirst(const ReportRun& run) const;
  size_t SeriesOf(const ReportRun& run, const RunConfig& config);
  void CheckSeeds(const Source& source, const std::string& checkpoint_id);
  void AddRow(const Source& source, const nlohmann::json& json);
  void AddSpeed(const nlohmann::json& json, const std::string& layout,
                Growing<ReportRow>* growing) const;
  void AddPlaces(const nlohmann::json& bins, ReportRow* row) const;
  void AddResolution(const Source& source, const nlohmann::json& json);
  void AddSynthetic(const Source& source, const nlohmann::json& json);
  template <typename Row>
  void Claim(const Source& source, const std::string& name,
             Growing<Row>* growing) const;
  void SetDifferences();
  template <typename Row, typename KindOf>
  void SetLabels(std::vector<Row>* rows, KindOf kind_of) const;

  std::vector<ReportRun> runs_;
  std::vector<ReportSeries> series_;
  std::map<std::pair<size_t, std::string>, FirstFile> file_of_seeds_;
  // By protocol, mask, place of the method, series, targets, length, stride.
  std::map<std::tuple<std::string, MaskOrder, int64_t, size_t, Settings,
                      int64_t, int64_t>,
           Growing<ReportRow>>
      rows_;
  // By length, mask, place of the method, series, targets.
  std::map<std::tuple<int64_t, MaskOrder, int64_t, size_t, Settings>,
           Growing<ReportResolution>>
      resolution_;
  // By task, mask, place of the method, series, targets, length, depth.
  std::map<std::tuple<std::string, MaskOrder, int64_t, size_t, Settings,
                      int64_t, double>,
           Growing<ReportSynthetic>>
      synthetic_;
};

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_REPORT_REPORT_MERGER_H_

#include "evaluator/report/report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/io/files.h"

namespace lextra {

std::string SeedsText(const ReportData& data, const ReportRow& row) {
  const size_t all = data.series[row.series].seeds.size();
  const size_t these = row.nll_of_run.size();
  return these == all ? absl::StrCat(all) : absl::StrCat(these, " of ", all);
}

std::string BitsText(const ReportRow& row) {
  return absl::StrCat(row.bytes_are_average ? "~" : "",
                      FixedPoint(4, row.bits_per_byte));
}

std::string ProtocolText(const ReportRow& row) {
  return row.stride ? absl::StrCat(row.protocol, ", stride ", *row.stride)
                    : row.protocol;
}

std::string ProtocolMeaning(const std::string& protocol) {
  if (protocol == "non_overlapping") {
    return "pieces of that many tokens, each scored alone; the same targets at "
           "every length. Tokens early in a piece have little context, so NLL "
           "falls with length even for a model that ignores far context";
  }
  if (protocol == "sliding") {
    return "windows of that many tokens, of which the last ones (the stride) "
           "are scored; the same targets at every length";
  }
  if (protocol == "same_targets") {
    return "the same targets at every length, the last ones (the stride) of "
           "windows of that many tokens: what more context is worth";
  }
  if (protocol == "prefix") {
    return "the first tokens of each document, as one piece";
  }
  return "whole documents";
}

namespace {

std::string CsvCell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

}  // namespace

std::string ReportCsv(const ReportData& data) {
  std::string csv =
      "protocol,stride,method,mask,length,nll,ppl,bpb,stderr,seed_sd,seeds,"
      "tokens,documents,keys_per_token,tokens_per_second,differences\n";
  for (const ReportRow& row : data.rows) {
    const std::vector<std::string> cells = {
        row.protocol,
        row.stride ? absl::StrCat(*row.stride) : "",
        row.method,
        CsvCell(row.mask),
        absl::StrCat(row.length),
        CompactNumber(9, row.nll),
        CompactNumber(9, std::exp(row.nll)),
        CompactNumber(9, row.bits_per_byte),
        CompactNumber(9, row.standard_error),
        CompactNumber(9, row.SeedDeviation()),
        absl::StrCat(row.nll_of_run.size()),
        absl::StrCat(row.tokens),
        absl::StrCat(row.documents),
        CompactNumber(9, row.keys_per_token),
        CompactNumber(9, row.tokens_per_second),
        CsvCell(row.Differences())};
    absl::StrAppend(&csv, absl::StrJoin(cells, ","), "\n");
  }
  return csv;
}

std::string LmEvalJson(const ReportData& data) {
  using Json = nlohmann::ordered_json;
  Json json = {{"results", Json::object()},
               {"configs", Json::object()},
               {"n-samples", Json::object()}};
  for (const ReportRow& row : data.rows) {
    const std::string task = absl::StrReplaceAll(
        absl::StrCat(row.label, " ", row.protocol, " ", row.mask, " ",
                     row.length,
                     row.stride ? absl::StrCat(" stride ", *row.stride) : ""),
        {{" + ", "+"}, {", ", "_"}, {" ", "_"}});
    // The error of a ratio whose denominator, the bytes, is known.
    const double error = row.standard_error / row.nll * row.bits_per_byte;
    json["results"][task] = {
        {"alias", task},
        {"bits_per_byte,none", row.bits_per_byte},
        {"bits_per_byte_stderr,none", error},
        {"byte_perplexity,none", std::exp2(row.bits_per_byte)},
        {"byte_perplexity_stderr,none",
         std::exp2(row.bits_per_byte) * std::numbers::ln2 * error}};
    json["configs"][task] = {{"task", task},
                             {"output_type", "loglikelihood_rolling"},
                             {"protocol", row.protocol},
                             {"mask", row.mask},
                             {"length", row.length}};
    json["n-samples"][task] = {{"original", row.documents},
                               {"effective", row.documents}};
  }
  json["git_hash"] = data.runs.empty() ? "" : data.runs[0].versions;
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::Status WriteReport(const std::string& folder, const ReportData& data,
                         const std::string& title) {
  LEXTRA_RETURN_IF_ERROR(MakeFolders(folder));
  LEXTRA_RETURN_IF_ERROR(AtomicWrite(folder + "/report.csv", ReportCsv(data)));
  LEXTRA_RETURN_IF_ERROR(
      AtomicWrite(folder + "/report.md", ReportMarkdown(data, title)));
  return AtomicWrite(folder + "/report.html", ReportHtml(data, title));
}

}  // namespace lextra

#include "evaluator/results.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/io/files.h"
#include "base/number_text.h"
#include "base/wilson_interval.h"
#include "config/fields.h"
#include "config/load.h"

namespace lextra {
namespace {

using google::protobuf::FieldDescriptor;
using Json = nlohmann::ordered_json;

constexpr char kCaption[] =
    "NLL in nats a token, with its standard error over documents; keys that a "
    "token sees\non average. All lengths of a protocol score the same "
    "documents.\n\n";

// What a protocol's length means.
std::string ProtocolNote(Protocol protocol) {
  switch (protocol) {
    case NON_OVERLAPPING:
      return "- non_overlapping: pieces of that length, each alone; the same "
             "targets at every length.\n  Tokens early in a piece have little "
             "context, so it falls with length even for a model\n  that "
             "ignores far context.\n";
    case PREFIX:
      return "- prefix: the first tokens of each document, one piece.\n";
    case STREAMING:
      return "- streaming: whole documents; the length is the longest one's.\n";
    case SLIDING:
      return "- sliding: windows of that length, of which the last `stride` "
             "targets count (all of\n  the first); the same targets at every "
             "length.\n";
    case SAME_TARGETS:
      return "- same_targets: the same targets at every length, the last "
             "`stride` of a piece of that\n  length: what more context is "
             "worth.\n";
  }
  return "";
}

std::string Caption(const std::vector<ResultRow>& rows) {
  std::string caption = kCaption;
  std::set<Protocol> protocols;
  for (const ResultRow& row : rows) protocols.insert(row.protocol);
  for (const Protocol protocol : protocols) caption += ProtocolNote(protocol);
  if (std::ranges::any_of(rows, &ResultRow::bytes_are_average)) {
    caption +=
        "- ~: the tokenizer is not known here: every token but the end of text "
        "counts as the data\n  set's average, its bytes over these tokens.\n";
  }
  return caption;
}

// JSON has no NaN: non-finite numbers are strings.
Json Number(double value) {
  if (!std::isfinite(value)) return NonFiniteText(value);
  return value;
}

void AddMask(const EvaluatedMask& mask, Json* json) {
  (*json)["mask"] = MaskName(mask.kind);
  const auto optional = [&](const char* name, std::optional<int64_t> value) {
    if (value) (*json)[name] = *value;
  };
  optional("block", mask.block);
  optional("window", mask.window);
  optional("sinks", mask.sinks);
  if (mask.extension == UNCHANGED) return;
  (*json)["extension"] = ExtensionName(mask.extension);
  (*json)["extension_factor"] = mask.extension_factor;
  (*json)["exponent_extended"] = mask.exponent_extended;
}

Json RowJson(const ResultRow& row) {
  Json json = {{"protocol", ProtocolName(row.protocol)},
               {"length", row.length},
               {"nll", Number(row.nll)},
               {"perplexity", Number(row.perplexity)},
               {"bits_per_byte", Number(row.bits_per_byte)},
               {"tokens", row.tokens},
               {"bytes", Number(row.bytes)},
               {"documents", row.documents},
               {"standard_error", Number(row.standard_error)},
               {"keys_per_token", Number(row.keys_per_token)}};
  if (row.tokens_per_second) {
    json["tokens_per_second"] = Number(*row.tokens_per_second);
  }
  AddMask(row.mask, &json);
  if (row.stride) json["stride"] = *row.stride;
  json["peak_memory_bytes"] = row.peak_memory_bytes;
  if (row.bytes_are_average) json["bytes_are_average"] = true;
  for (const PlaceBin& bin : row.by_place) {
    const NllStatistics& of = bin.of_targets;
    json["by_place"].push_back({{"first", bin.first},
                                {"last", bin.last},
                                {"tokens", of.tokens},
                                {"documents", of.documents},
                                {"nll", Number(of.nll)},
                                {"standard_error", Number(of.standard_error)}});
  }
  return json;
}

Json ListOf(const at::Tensor& numbers) {
  Json list = Json::array();
  for (int64_t i = 0; i < numbers.size(0); ++i) {
    list.push_back(Number(numbers[i].item<double>()));
  }
  return list;
}

Json ResolutionJson(const ResolutionRow& row) {
  Json json = {{"length", row.length}, {"documents", row.documents}};
  AddMask(row.mask, &json);
  json["resolution"] = Number(row.resolution_LH.mean().item<double>());
  if (row.spread) json["spread"] = Number(*row.spread);
  json["distances"] = row.distances;
  for (int64_t layer = 0; layer < row.resolution_LH.size(0); ++layer) {
    const at::Tensor heads = row.resolution_LH[layer];
    json["layers"].push_back(
        {{"resolution", Number(heads.mean().item<double>())},
         {"heads", ListOf(heads)},
         {"s_hat", ListOf(row.mean_scores_LN[layer])}});
  }
  return json;
}

Json SyntheticJson(const SyntheticRow& row) {
  Json json = {{"task", row.task}, {"length", row.length}};
  AddMask(row.mask, &json);
  if (row.depth) json["depth"] = *row.depth;
  const Interval interval = WilsonInterval(row.correct, row.trials);
  json["trials"] = row.trials;
  json["correct"] = row.correct;
  json["accuracy"] = static_cast<double>(row.correct) / row.trials;
  json["low"] = interval.low;
  json["high"] = interval.high;
  return json;
}

// Protobuf's JSON writes 64-bit integers as text.
Json WithIntegers(const Json& value) {
  if (value.is_string()) return Json::parse(value.get<std::string>());
  Json list = Json::array();
  for (const Json& element : value) list.push_back(WithIntegers(element));
  return list;
}

Json ConfigJson(const RunConfig& config) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto status =
      google::protobuf::util::MessageToJsonString(config, &text, options);
  // Fails for text that is not UTF-8: a path.
  if (!status.ok()) return RunConfigText(config);
  Json json = Json::parse(text);
  for (const ConfigField& field : ConfigFields()) {
    const auto type = field.field->cpp_type();
    const bool is_wide = type == FieldDescriptor::CPPTYPE_INT64 ||
                         type == FieldDescriptor::CPPTYPE_UINT64;
    if (!is_wide || !json.contains(field.section->name())) continue;
    Json& section = json[field.section->name()];
    const auto value = section.find(field.field->name());
    if (value != section.end()) *value = WithIntegers(*value);
  }
  return json;
}

// "xpos", "rope+yarn".
std::string MethodOf(const ResultRow& row, const ModelConfig& model) {
  std::string method =
      absl::AsciiStrToLower(PositionMethod_Name(model.position()));
  if (row.mask.extension != UNCHANGED) {
    absl::StrAppend(&method, "+", ExtensionName(row.mask.extension));
  }
  return method;
}

// "sliding, stride 32".
std::string ProtocolText(const ResultRow& row) {
  return absl::StrCat(ProtocolName(row.protocol),
                      row.stride ? absl::StrCat(", stride ", *row.stride) : "");
}

using Cells = std::vector<std::string>;

Cells RowCells(const ResultRow& row) {
  return {ProtocolText(row),
          row.mask.Text(),
          absl::StrCat(row.length),
          FixedPoint(4, row.nll),
          row.perplexity < 1e6 ? FixedPoint(3, row.perplexity)
                               : absl::StrFormat("%.3e", row.perplexity),
          absl::StrCat(row.bytes_are_average ? "~" : "",
                       FixedPoint(4, row.bits_per_byte)),
          absl::StrCat(row.tokens),
          absl::StrCat(row.documents),
          FixedPoint(4, row.standard_error),
          FixedPoint(1, row.keys_per_token),
          row.tokens_per_second ? FixedPoint(0, *row.tokens_per_second)
                                : "journal"};
}

// Columns as wide as their widest cell: `num_texts` to the left, numbers to the
// right. The first line is the head.
std::string MarkdownTable(const std::vector<Cells>& lines, size_t num_texts) {
  const auto is_text = [&](size_t column) { return column < num_texts; };
  std::vector<size_t> widths(lines[0].size());
  for (const Cells& cells : lines) {
    for (size_t i = 0; i < cells.size(); ++i) {
      widths[i] = std::max(widths[i], cells[i].size());
    }
  }
  std::string rule;
  for (size_t i = 0; i < widths.size(); ++i) {
    const std::string dashes(widths[i] + 1, '-');
    rule += "|" + (is_text(i) ? ":" + dashes : dashes + ":");
  }
  std::string table;
  for (const Cells& cells : lines) {
    for (size_t i = 0; i < cells.size(); ++i) {
      const int width = static_cast<int>(widths[i]);
      absl::StrAppendFormat(&table, "| %*s ", is_text(i) ? -width : width,
                            cells[i]);
    }
    table += "|\n";
    if (&cells == &lines[0]) table += rule + "|\n";
  }
  return table;
}

std::string ResolutionTable(const std::vector<ResolutionRow>& rows) {
  if (rows.empty()) return "";
  std::vector<Cells> lines = {
      {"mask", "length", "documents", "resolution", "by layer", "spread"}};
  for (const ResolutionRow& row : rows) {
    std::vector<std::string> layers;
    for (int64_t layer = 0; layer < row.resolution_LH.size(0); ++layer) {
      layers.push_back(absl::StrFormat(
          "%.4f", row.resolution_LH[layer].mean().item<double>()));
    }
    lines.push_back(
        {row.mask.Text(), absl::StrCat(row.length), absl::StrCat(row.documents),
         absl::StrFormat("%.4f", row.resolution_LH.mean().item<double>()),
         absl::StrJoin(layers, " "),
         row.spread ? absl::StrFormat("%.3f", *row.spread) : "-"});
  }
  return absl::StrCat(
      "\nAttention resolution, mean over heads, then layers, of the mean "
      "scores "
      "s[n] of all\ndocuments; spread: the standard deviation of s beyond the "
      "training length.\n\n",
      MarkdownTable(lines, /*num_texts=*/1));
}

std::string SyntheticTable(const std::vector<SyntheticRow>& rows) {
  if (rows.empty()) return "";
  std::vector<Cells> lines = {
      {"task", "mask", "length", "depth", "right", "of", "95 % interval"}};
  for (const SyntheticRow& row : rows) {
    const Interval interval = WilsonInterval(row.correct, row.trials);
    lines.push_back(
        {row.task, row.mask.Text(), absl::StrCat(row.length),
         row.depth ? absl::StrFormat("%.2f", *row.depth) : "-",
         absl::StrCat(row.correct), absl::StrCat(row.trials),
         absl::StrFormat("%.2f to %.2f", interval.low, interval.high)});
  }
  return absl::StrCat(
      "\nSynthetic tasks: keys of five digits found, bytes copied.\n\n",
      MarkdownTable(lines, /*num_texts=*/2));
}

}  // namespace

std::string RowName(const ResultRow& row) {
  return absl::StrCat(ProtocolName(row.protocol), " ", row.mask.Text(), " at ",
                      row.length,
                      row.stride ? absl::StrCat(" stride ", *row.stride) : "");
}

std::string ResultLine(const ResultRow& row) {
  return absl::StrFormat(
      "%s: NLL %.4f, perplexity %.3f, %d tokens of %d documents, %s",
      RowName(row), row.nll, row.perplexity, row.tokens, row.documents,
      row.tokens_per_second
          ? absl::StrFormat("%.0f tokens/s", *row.tokens_per_second)
          : "all from the journal");
}

std::string ResultsJson(const Results& results, const ResultsContext& context) {
  Json json = {{"subject", context.subject}, {"results", Json::array()}};
  for (const ResultRow& row : results.rows) {
    json["results"].push_back(RowJson(row));
  }
  for (const ResolutionRow& row : results.resolution) {
    json["resolution"].push_back(ResolutionJson(row));
  }
  for (const SyntheticRow& row : results.synthetic) {
    json["synthetic"].push_back(SyntheticJson(row));
  }
  json["config"] = ConfigJson(context.config);
  json["config_digest"] = context.config_digest;
  json["checkpoint"] = {{"path", context.checkpoint_path},
                        {"step", context.checkpoint_step},
                        {"id", context.checkpoint_id}};
  json["tokenizer"] = {{"name", context.tokenizer_name},
                       {"sha256", context.tokenizer_sha256}};
  json["data"] = {{"path", context.data_path},
                  {"documents", context.data_documents},
                  {"tokens", context.data_tokens},
                  {"digest", context.data_digest}};
  json["versions"] = context.versions;
  json["command"] = context.command;
  json["date"] = context.date;
  // Paths may be any bytes; what is not UTF-8 is replaced.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string ResultsCsv(const std::vector<ResultRow>& rows,
                       const ModelConfig& model) {
  std::string csv =
      "length,method,mask,protocol,ppl,nll,bpb,tokens,bytes,documents,stderr,"
      "block,window,sinks,stride,extension_factor,exponent_extended,"
      "keys_per_token\n";
  const auto number = [](const std::optional<int64_t>& value) {
    return value ? absl::StrCat(*value) : "";
  };
  for (const ResultRow& row : rows) {
    const EvaluatedMask& mask = row.mask;
    const bool extended = mask.extension != UNCHANGED;
    absl::StrAppendFormat(
        &csv, "%d,%s,%s,%s,%s,%s,%s,%d,%s,%d,%s,", row.length,
        MethodOf(row, model), MaskName(mask.kind), ProtocolName(row.protocol),
        CompactNumber(9, row.perplexity), CompactNumber(9, row.nll),
        CompactNumber(9, row.bits_per_byte), row.tokens,
        CompactNumber(15, row.bytes), row.documents,
        CompactNumber(9, row.standard_error));
    absl::StrAppendFormat(
        &csv, "%s,%s,%s,%s,%s,%s,%s\n", number(mask.block), number(mask.window),
        number(mask.sinks), number(row.stride),
        extended ? CompactNumber(9, mask.extension_factor) : "",
        extended ? absl::StrCat(mask.exponent_extended) : "",
        CompactNumber(9, row.keys_per_token));
  }
  return csv;
}

std::string ResultsTable(const Results& results) {
  std::vector<Cells> lines = {{"protocol", "mask", "length", "NLL",
                               "perplexity", "bits/byte", "tokens", "documents",
                               "std. error", "keys/token", "tokens/s"}};
  for (const ResultRow& row : results.rows) lines.push_back(RowCells(row));
  return absl::StrCat(
      MarkdownTable(lines, /*num_texts=*/2), "\n", Caption(results.rows),
      ResolutionTable(results.resolution), SyntheticTable(results.synthetic));
}

absl::Status WriteResults(const std::string& folder, const Results& results,
                          const ResultsContext& context) {
  LEXTRA_RETURN_IF_ERROR(
      AtomicWrite(folder + "/results.csv",
                  ResultsCsv(results.rows, context.config.model())));
  LEXTRA_RETURN_IF_ERROR(
      AtomicWrite(folder + "/results.md", ResultsTable(results)));
  return AtomicWrite(folder + "/results.json", ResultsJson(results, context));
}

}  // namespace lextra

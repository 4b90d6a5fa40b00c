#include "evaluator/results.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/json_number.h"
#include "base/wilson_interval.h"
#include "config/json.h"

namespace lextra {
namespace {

using Json = nlohmann::ordered_json;

void AddMask(const EvaluatedMask& mask, Json* json) {
  (*json)["mask"] = MaskName(mask.mask.kind);
  const auto size = [&](const char* name, int64_t value) {
    if (value > 0) (*json)[name] = value;
  };
  size("block", mask.mask.block);
  size("window", mask.mask.window);
  size("sinks", mask.mask.sinks);
  if (mask.rope_scaling == RopeScaling::NONE) return;
  (*json)["extension"] = RopeScalingName(mask.rope_scaling);
  (*json)["extension_factor"] = mask.scaling_factor;
  (*json)["exponent_extended"] = mask.scales_exponent;
}

Json RowJson(const ResultRow& row) {
  Json json = {{"protocol", ProtocolName(row.protocol)},
               {"length", row.length},
               {"nll", JsonNumber(row.nll)},
               {"perplexity", JsonNumber(row.perplexity)},
               {"bits_per_byte", JsonNumber(row.bits_per_byte)},
               {"tokens", row.tokens},
               {"bytes", JsonNumber(row.bytes)},
               {"documents", row.documents},
               {"standard_error", JsonNumber(row.standard_error)},
               {"keys_per_token", JsonNumber(row.keys_per_token)}};
  if (row.tokens_per_second) {
    json["tokens_per_second"] = JsonNumber(*row.tokens_per_second);
  }
  AddMask(row.mask, &json);
  if (row.stride) json["stride"] = *row.stride;
  json["peak_memory_bytes"] = row.peak_memory_bytes;
  if (row.bytes_are_average) json["bytes_are_average"] = true;
  for (const PlaceBin& bin : row.by_place) {
    const NllStatistics& of = bin.of_targets;
    json["by_place"].push_back(
        {{"first", bin.first},
         {"last", bin.last},
         {"tokens", of.tokens},
         {"documents", of.documents},
         {"nll", JsonNumber(of.nll)},
         {"standard_error", JsonNumber(of.standard_error)}});
  }
  return json;
}

Json ListOf(const at::Tensor& numbers) {
  Json list = Json::array();
  for (int64_t i = 0; i < numbers.size(0); ++i) {
    list.push_back(JsonNumber(numbers[i].item<double>()));
  }
  return list;
}

Json ResolutionJson(const ResolutionRow& row) {
  Json json = {{"length", row.length}, {"documents", row.documents}};
  AddMask(row.mask, &json);
  json["resolution"] = JsonNumber(row.resolution_LH.mean().item<double>());
  if (row.spread) json["spread"] = JsonNumber(*row.spread);
  json["distances"] = row.distances;
  for (int64_t layer = 0; layer < row.resolution_LH.size(0); ++layer) {
    const at::Tensor heads = row.resolution_LH[layer];
    json["layers"].push_back(
        {{"resolution", JsonNumber(heads.mean().item<double>())},
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
  json["config"] = RunConfigJson(context.config);
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

}  // namespace lextra

#include "evaluator/document_journal.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/files.h"
#include "base/log.h"
#include "parallel/agreement.h"

namespace lextra {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMaxBytes = int64_t{1} << 32;
constexpr char kWhole[] = "documents.jsonl";

std::string HeaderLine(const std::string& subject) {
  return Json{{"subject", subject}}.dump(-1, ' ', false,
                                         Json::error_handler_t::replace) +
         "\n";
}

std::string LineOf(const JournalEntry& entry) {
  Json sums = Json::array();
  for (const JournalEntry::PlaceSums& place : entry.sums) {
    sums.push_back({place.bin, place.nll, place.tokens});
  }
  return Json{{"row", entry.row},
              {"document", entry.document},
              {"pieces", entry.pieces},
              {"seconds", entry.seconds},
              {"sums", sums}}
             .dump() +
         "\n";
}

// Null for what is no entry: a line that a crash cut off.
std::optional<JournalEntry> ParseLine(absl::string_view line) {
  const Json json = Json::parse(line.begin(), line.end(), nullptr,
                                /*allow_exceptions=*/false);
  try {
    JournalEntry entry = {.row = json.at("row").get<std::string>(),
                          .document = json.at("document").get<int64_t>(),
                          .pieces = json.at("pieces").get<uint32_t>(),
                          .seconds = json.at("seconds").get<double>()};
    for (const Json& place : json.at("sums")) {
      entry.sums.push_back({.bin = place.at(0).get<int64_t>(),
                            .nll = place.at(1).get<double>(),
                            .tokens = place.at(2).get<int64_t>()});
    }
    return entry;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

bool IsJournal(const std::string& name) {
  return name == kWhole || (absl::StartsWith(name, "documents-") &&
                            absl::EndsWith(name, ".jsonl"));
}

}  // namespace

absl::StatusOr<std::string> DocumentJournal::Unite() const {
  LEXTRA_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          ListFolder(folder_));
  const std::string header = HeaderLine(subject_);
  std::string united = header;
  std::set<std::pair<std::string, int64_t>> seen;
  std::vector<std::string> parts;
  for (const std::string& name : names) {
    if (!IsJournal(name)) continue;
    const std::string path = folder_ + "/" + name;
    LEXTRA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxBytes));
    if (name != kWhole) parts.push_back(path);
    if (!absl::StartsWith(text, header)) {
      LogHint("%s is about another checkpoint or other data: it is replaced",
              path);
      continue;
    }
    for (const absl::string_view line :
         absl::StrSplit(absl::string_view(text).substr(header.size()), '\n')) {
      const std::optional<JournalEntry> entry = ParseLine(line);
      if (!entry || !seen.insert({entry->row, entry->document}).second) {
        continue;
      }
      absl::StrAppend(&united, line, "\n");
    }
  }
  LEXTRA_RETURN_IF_ERROR(AtomicWrite(folder_ + "/" + kWhole, united));
  for (const std::string& part : parts) {
    LEXTRA_RETURN_IF_ERROR(RemoveTree(part));
  }
  return united.substr(header.size());
}

absl::StatusOr<DocumentJournal> DocumentJournal::Open(
    const std::string& folder, const std::string& subject, DeviceMesh& mesh) {
  DocumentJournal journal(folder, subject, mesh);
  LEXTRA_ASSIGN_OR_RETURN(
      const std::string text,
      LoadOnRankZero(mesh.world(), [&] { return journal.Unite(); }));
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    std::optional<JournalEntry> entry = ParseLine(line);
    if (!entry) continue;
    const auto key = std::make_pair(entry->row, entry->document);
    journal.entries_.emplace(key, *std::move(entry));
  }
  return journal;
}

const JournalEntry* DocumentJournal::Find(const std::string& row,
                                          int64_t document,
                                          uint32_t pieces) const {
  const auto it = entries_.find({row, document});
  return it != entries_.end() && it->second.pieces == pieces ? &it->second
                                                             : nullptr;
}

void DocumentJournal::Append(const std::vector<JournalEntry>& entries) {
  if (mesh_->sequence().rank() != 0 || mesh_->tensor().rank() != 0) return;
  std::string lines = has_header_ ? "" : HeaderLine(subject_);
  for (const JournalEntry& entry : entries) lines += LineOf(entry);
  const absl::Status status = AppendToFile(
      absl::StrCat(folder_, "/documents-", mesh_->data().rank(), ".jsonl"),
      lines);
  if (status.ok()) {
    has_header_ = true;
  } else {
    LogWarning("a restart would score some documents again: %s",
               std::string(status.message()));
  }
}

absl::Status DocumentJournal::Finish() {
  mesh_->world().Barrier();
  absl::Status status;
  if (mesh_->world().rank() == 0) status = Unite().status();
  return AgreeOnStatus(mesh_->world(), status);
}

}  // namespace lextra

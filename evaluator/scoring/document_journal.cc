#include "evaluator/scoring/document_journal.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/hash/sha256.h"
#include "base/io/files.h"
#include "base/io/open_files.h"
#include "base/log.h"
#include "base/work_counter.h"
#include "parallel/agreement.h"

namespace lextra {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kWhole[] = "documents.jsonl";

// Identifies a subject in a few characters.
std::string SubjectId(const std::string& subject) {
  return Sha256(subject).substr(0, 16);
}

std::string LineOf(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string LineOf(const JournalEntry& entry, const std::string& id) {
  Json sums = Json::array();
  for (const JournalEntry::PlaceSums& place : entry.sums) {
    sums.push_back({place.bin, place.nll, place.tokens});
  }
  return LineOf(Json{{"of", id},
                     {"row", entry.row},
                     {"document", entry.document},
                     {"pieces", entry.pieces},
                     {"seconds", entry.seconds},
                     {"sums", sums}});
}

// The content of a line; nullopt for a torn one.
std::optional<Json> ParseLine(absl::string_view line) {
  CountWork();
  Json json = Json::parse(line.begin(), line.end(), nullptr,
                          /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  return json;
}

// nullopt if it is not an entry.
std::optional<JournalEntry> EntryOf(const Json& json) {
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

// The text of `key`; empty if there is none.
std::string TextIn(const Json& json, const char* key) {
  const auto value = json.find(key);
  return value != json.end() && value->is_string() ? value->get<std::string>()
                                                   : "";
}

std::string PartName(int64_t coordinate) {
  return absl::StrCat("documents-", coordinate, ".jsonl");
}

// The data coordinate of a part's name, exactly as we write it.
std::optional<int64_t> CoordinateOf(absl::string_view name) {
  absl::string_view digits = name;
  int64_t coordinate = 0;
  if (!absl::ConsumePrefix(&digits, "documents-") ||
      !absl::ConsumeSuffix(&digits, ".jsonl") ||
      !absl::SimpleAtoi(digits, &coordinate) || name != PartName(coordinate)) {
    return std::nullopt;
  }
  return coordinate;
}

// Whether a journal begins like this. Only the first line tells, and a crash
// may have cut it off.
bool IsOurs(absl::string_view text) {
  constexpr absl::string_view kBegin = "{\"subject\":\"";
  if (!absl::StartsWith(text, kBegin)) return false;
  const size_t end = text.find('\n');
  return end == absl::string_view::npos || ParseLine(text.substr(0, end));
}

// The lines of several files, each once.
class UnitedLines {
 public:
  explicit UnitedLines(std::string id) : id_(std::move(id)) {}

  void Add(absl::string_view text) {
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      const std::optional<Json> json = ParseLine(line);
      if (json) Add(line, *json);
    }
  }

  // Headers first, so that readers know the subjects.
  std::string All() const { return absl::StrCat(headers_, entries_); }
  // Entries of the subject `id`.
  const std::string& Mine() const { return mine_; }

 private:
  void Add(absl::string_view line, const Json& json) {
    const std::string subject = TextIn(json, "subject");
    if (!subject.empty() && TextIn(json, "id") == SubjectId(subject)) {
      if (seen_.insert({subject, "", 0}).second) {
        absl::StrAppend(&headers_, line, "\n");
      }
      return;
    }
    const std::string id = TextIn(json, "of");
    const std::optional<JournalEntry> entry = EntryOf(json);
    if (id.empty() || !entry) return;
    if (!seen_.insert({id, entry->row, entry->document}).second) return;
    absl::StrAppend(&entries_, line, "\n");
    if (id == id_) absl::StrAppend(&mine_, line, "\n");
  }

  std::string id_;
  std::string headers_;
  std::string entries_;
  std::string mine_;
  std::set<std::tuple<std::string, std::string, int64_t>> seen_;
};

}  // namespace

DocumentJournal::DocumentJournal(std::string folder, const std::string& subject,
                                 DeviceMesh& mesh)
    : folder_(std::move(folder)), id_(SubjectId(subject)), mesh_(&mesh) {
  header_ = LineOf(Json{{"subject", subject}, {"id", id_}});
}

absl::StatusOr<std::string> DocumentJournal::Unite() const {
  LEXTRA_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          ListFolder(folder_));
  UnitedLines lines(id_);
  lines.Add(header_);
  std::vector<std::string> parts;
  for (const std::string& name : names) {
    const std::optional<int64_t> coordinate = CoordinateOf(name);
    if (name != kWhole && !coordinate) continue;
    const bool is_written = !coordinate || *coordinate < mesh_->data().size();
    const std::string path = folder_ + "/" + name;
    const absl::StatusOr<MappedFile> file = MappedFile::Open(path);
    if (!file.ok() && !is_written) continue;
    LEXTRA_RETURN_IF_ERROR(file.status());
    const absl::string_view text(
        reinterpret_cast<const char*>(file->bytes().data()), file->size());
    // The second: left by a kill before its first line.
    const bool is_ours = IsOurs(text) || (is_written && text.empty());
    if (!is_ours && is_written) {
      return UsageError(absl::StrCat(
          path,
          ": not an evaluation journal, but the evaluation would write a file "
          "of this name; move it away, or choose another --results_dir"));
    }
    if (!is_ours) continue;
    if (coordinate) parts.push_back(path);
    lines.Add(text);
  }
  LEXTRA_RETURN_IF_ERROR(AtomicWrite(folder_ + "/" + kWhole, lines.All()));
  for (const std::string& part : parts) {
    LEXTRA_RETURN_IF_ERROR(RemoveTree(part));
  }
  return lines.Mine();
}

absl::StatusOr<DocumentJournal> DocumentJournal::Open(
    const std::string& folder, const std::string& subject, DeviceMesh& mesh) {
  DocumentJournal journal(folder, subject, mesh);
  LEXTRA_ASSIGN_OR_RETURN(
      const std::string text,
      LoadOnRankZero(mesh.world(), [&] { return journal.Unite(); }));
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::optional<Json> json = ParseLine(line);
    if (!json) continue;
    std::optional<JournalEntry> entry = EntryOf(*json);
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
  if (mesh_->context().rank() != 0 || mesh_->tensor().rank() != 0) return;
  const std::string path =
      absl::StrCat(folder_, "/", PartName(mesh_->data().rank()));
  std::error_code absent;
  const auto size = std::filesystem::file_size(path, absent);
  std::string lines = absent || size == 0 ? header_ : "";
  for (const JournalEntry& entry : entries) lines += LineOf(entry, id_);
  const absl::Status status = AppendToFile(path, lines);
  if (!status.ok()) {
    LogWarning(
        "failed to append to the journal, a rerun would rescore documents: %s",
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

#include "evaluator/scoring/row_scorer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/hash/crc32c.h"
#include "base/work_counter.h"
#include "evaluator/scoring/row_progress.h"
#include "parallel/device_copy.h"

namespace lextra {
namespace {

using Pieces = std::span<const Piece>;

// The pieces of one document of the row.
struct PlannedDocument {
  int64_t index = 0;  // in the row
  Pieces pieces;

  int64_t document() const { return pieces[0].document; }
  // Identifies which targets are scored and what they see.
  uint32_t Checksum() const {
    uint32_t checksum = 0;
    for (const Piece& piece : pieces) {
      const int64_t numbers[] = {piece.begin, piece.num_targets,
                                 piece.num_context};
      checksum = Crc32c(std::as_bytes(std::span(numbers)), checksum);
    }
    return checksum;
  }
};

std::vector<PlannedDocument> DocumentsOf(const PlannedRow& row) {
  const Pieces pieces = row.pieces;
  std::vector<PlannedDocument> documents;
  for (size_t begin = 0; begin < pieces.size();) {
    size_t end = begin;
    while (end < pieces.size() &&
           pieces[end].document == pieces[begin].document) {
      ++end;
    }
    CountWork();
    documents.push_back({.index = std::ssize(documents),
                         .pieces = pieces.subspan(begin, end - begin)});
    begin = end;
  }
  return documents;
}

using Group = std::vector<PlannedDocument>;

// Documents in order, in groups of at least as many pieces as fill the ranks.
std::vector<Group> GroupsOf(const std::vector<PlannedDocument>& documents,
                            const LongDocumentScorer& scorer) {
  std::vector<Group> groups;
  int64_t room = 0;
  for (const PlannedDocument& document : documents) {
    if (room <= 0) {
      groups.emplace_back();
      room = scorer.DocumentsAtOnce(document.pieces[0].num_targets + 1);
    }
    groups.back().push_back(document);
    CountWork();
    room -= std::ssize(document.pieces);
  }
  return groups;
}

// A piece, and its document's place in the row.
struct PlannedPiece {
  Piece piece;
  int64_t index;
};

// Takes the NLL of a piece's targets first + 1 .. first + n.
using PieceNllSink = std::function<void(
    const PlannedPiece& piece, int64_t first, const at::Tensor& nll_T)>;

// Pieces of equal length, side by side.
void ScoreBatch(const Documents& documents, std::span<const PlannedPiece> batch,
                LongDocumentScorer& scorer, const PieceNllSink& sink) {
  const auto read = [&](int64_t begin, const at::Tensor& tokens_BT) {
    for (size_t b = 0; b < batch.size(); ++b) {
      const at::Tensor row = tokens_BT.select(0, b);
      const absl::Status status = documents.Read(
          batch[b].piece.document, batch[b].piece.begin + begin,
          {row.mutable_data_ptr<int64_t>(), static_cast<size_t>(row.size(0))});
      TORCH_CHECK(status.ok(), std::string(status.message()));
    }
  };
  scorer.Score(std::ssize(batch), batch[0].piece.num_targets + 1, read,
               [&](int64_t first, const at::Tensor& nll_BT) {
                 for (size_t b = 0; b < batch.size(); ++b) {
                   const int64_t skipped = std::clamp<int64_t>(
                       batch[b].piece.num_context - first, 0, nll_BT.size(1));
                   sink(batch[b], first + skipped,
                        nll_BT[b].narrow(0, skipped, nll_BT.size(1) - skipped));
                 }
               });
}

void ScoreGroup(const Documents& documents, const Group& group,
                LongDocumentScorer& scorer, const PieceNllSink& sink) {
  std::vector<PlannedPiece> pieces;
  for (const PlannedDocument& document : group) {
    for (const Piece& piece : document.pieces) {
      pieces.push_back({piece, document.index});
    }
  }
  for (size_t begin = 0; begin < pieces.size();) {
    const int64_t targets = pieces[begin].piece.num_targets;
    const size_t most = scorer.DocumentsAtOnce(targets + 1);
    size_t end = begin;
    while (end < pieces.size() && end - begin < most &&
           pieces[end].piece.num_targets == targets) {
      ++end;
    }
    ScoreBatch(documents, std::span(pieces).subspan(begin, end - begin), scorer,
               sink);
    begin = end;
  }
}

JournalEntry EntryOf(const PlannedDocument& document, const std::string& row,
                     double seconds, const PositionNll& sums) {
  JournalEntry entry = {.row = row,
                        .document = document.document(),
                        .pieces = document.Checksum(),
                        .seconds = seconds};
  const at::Tensor by_bin = sums.SumsOf(document.index);
  const double* sum = by_bin.const_data_ptr<double>();
  for (int64_t bin = 0; bin < by_bin.size(0); ++bin, sum += 2) {
    if (sum[1] == 0) continue;
    entry.sums.push_back(
        {.bin = bin, .nll = sum[0], .tokens = static_cast<int64_t>(sum[1])});
  }
  return entry;
}

void Restore(const JournalEntry& entry, const PlannedDocument& document,
             ScoredRow* scores) {
  const at::Tensor by_bin = scores->sums.SumsOf(document.index);
  double* const sums = by_bin.mutable_data_ptr<double>();
  for (const JournalEntry::PlaceSums& place : entry.sums) {
    // A bin beyond the row's can't come from these pieces.
    TORCH_CHECK(place.bin >= 0 && place.bin < by_bin.size(0), "bin ", place.bin,
                " of document ", entry.document, " in the journal");
    sums[2 * place.bin] = place.nll;
    sums[2 * place.bin + 1] = static_cast<double>(place.tokens);
  }
}

// Adds what the journal has to `scores` (on data coordinate 0, for all), and
// returns groups of what it lacks.
std::vector<Group> WithoutJournaled(std::vector<Group> groups,
                                    const std::string& row,
                                    const DocumentJournal* journal, bool takes,
                                    ScoredRow* scores) {
  if (journal == nullptr) return groups;
  for (Group& group : groups) {
    std::erase_if(group, [&](const PlannedDocument& document) {
      CountWork();
      const JournalEntry* entry =
          journal->Find(row, document.document(), document.Checksum());
      if (entry != nullptr && takes) Restore(*entry, document, scores);
      return entry != nullptr;
    });
  }
  std::erase_if(groups, [](const Group& group) { return group.empty(); });
  return groups;
}

// Where the NLL of each document that has such targets is not finite first.
using NonFinitePlaces = std::map<int64_t, int64_t>;  // by index in the row

// NLL of the targets at places first_place, first_place + 1, .. of a document.
void NoteNonFinite(int64_t index, int64_t first_place, const at::Tensor& nll_T,
                   NonFinitePlaces* places) {
  const at::Tensor finite = nll_T.isfinite();
  if (finite.all().item<bool>()) return;
  const int64_t place =
      first_place + finite.logical_not().nonzero()[0][0].item<int64_t>();
  const auto [found, is_new] = places->emplace(index, place);
  if (!is_new) found->second = std::min(found->second, place);
}

// The first of all data coordinates; `documents` are the row's. Collective.
std::optional<NonFiniteTarget> FirstNonFinite(
    const NonFinitePlaces& mine, const std::vector<PlannedDocument>& documents,
    Communicator& data_axis) {
  const int64_t none = std::ssize(documents);
  const auto least = [&](int64_t number) {
    const at::Tensor of_all = at::full({1}, number, at::kLong);
    AllReduceOnHost(of_all, ReduceOp::kMin, data_axis);
    return of_all.item<int64_t>();
  };
  const int64_t index = least(mine.empty() ? none : mine.begin()->first);
  if (index == none) return std::nullopt;
  const auto found = mine.find(index);
  const int64_t place =
      least(found == mine.end() ? std::numeric_limits<int64_t>::max()
                                : found->second);
  return NonFiniteTarget{.document = documents[index].document(),
                         .place = place};
}

// Targets of the groups `first`, first + step, ..
int64_t NumCounted(const std::vector<Group>& groups, size_t first,
                   size_t step) {
  int64_t counted = 0;
  for (size_t i = first; i < groups.size(); i += step) {
    for (const PlannedDocument& document : groups[i]) {
      for (const Piece& piece : document.pieces) {
        counted += piece.num_counted();
      }
    }
  }
  return counted;
}

// The row ends when the slowest data coordinate is done.
double Slowest(double seconds, Communicator& data_axis) {
  const at::Tensor slowest = at::full({1}, seconds, at::kDouble);
  AllReduceOnHost(slowest, ReduceOp::kMax, data_axis);
  return slowest.item<double>();
}

}  // namespace

ScoredRow ScoreRow(const PlannedRow& row, const std::string& name,
                   const Documents& documents, LongDocumentScorer& scorer,
                   DeviceMesh& mesh, DocumentJournal* journal,
                   const DocumentNllSink& sink) {
  const std::vector<PlannedDocument> row_documents = DocumentsOf(row);
  ScoredRow scores = {PositionNll(std::ssize(row_documents), row.num_places())};
  Communicator& data_axis = mesh.data();
  const std::vector<Group> groups =
      WithoutJournaled(GroupsOf(row_documents, scorer), name, journal,
                       data_axis.rank() == 0, &scores);
  scores.targets_scored = NumCounted(groups, 0, 1);
  RowProgress progress(name, scores.targets_scored,
                       NumCounted(groups, data_axis.rank(), data_axis.size()));
  NonFinitePlaces non_finite;
  const auto take_piece = [&](const PlannedPiece& piece, int64_t first,
                              const at::Tensor& nll_T) {
    NoteNonFinite(piece.index, piece.piece.begin + first + 1, nll_T,
                  &non_finite);
    scores.sums.Add(piece.index, first, nll_T);
    if (sink) sink(piece.piece.document, piece.piece.begin + first, nll_T);
    progress.Add(nll_T.size(0));
    data_axis.activity().Tick();
  };
  const auto start = std::chrono::steady_clock::now();
  for (size_t i = data_axis.rank(); i < groups.size(); i += data_axis.size()) {
    const auto group_start = std::chrono::steady_clock::now();
    ScoreGroup(documents, groups[i], scorer, take_piece);
    if (journal == nullptr) continue;
    const double seconds = SecondsSince(group_start);
    std::vector<JournalEntry> entries;
    for (const PlannedDocument& document : groups[i]) {
      if (non_finite.contains(document.index)) continue;
      entries.push_back(EntryOf(document, name, seconds / std::ssize(groups[i]),
                                scores.sums));
    }
    journal->Append(entries);
  }
  scores.seconds = Slowest(SecondsSince(start), data_axis);
  scores.non_finite = FirstNonFinite(non_finite, row_documents, data_axis);
  scores.sums.AllReduce(data_axis);
  return scores;
}

}  // namespace lextra

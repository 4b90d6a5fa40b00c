// One result row: its pieces distributed over the data axis, scored and summed.
#ifndef LEXTRA_EVALUATOR_SCORING_ROW_SCORER_H_
#define LEXTRA_EVALUATOR_SCORING_ROW_SCORER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "evaluator/scoring/document_journal.h"
#include "evaluator/scoring/documents.h"
#include "evaluator/scoring/long_document_scorer.h"
#include "evaluator/scoring/position_nll.h"
#include "evaluator/scoring/protocol.h"
#include "parallel/device_mesh.h"

namespace lextra {

// NLL fp64 [n] of targets first + 1 .. first + n of a document, as it comes.
using DocumentNllSink = std::function<void(int64_t document, int64_t first,
                                           const at::Tensor& nll_T)>;

// A target whose NLL is a NaN or an infinity; `place` in its document.
struct NonFiniteTarget {
  int64_t document = 0;
  int64_t place = 0;
};

struct ScoredRow {
  PositionNll sums;  // documents numbered in the row's order
  // What was scored in this run by all data coordinates, and how long that
  // took; documents from the journal are in neither.
  int64_t targets_scored = 0;
  double seconds = 0;
  // The first one, if any: then the sums are meaningless.
  std::optional<NonFiniteTarget> non_finite = std::nullopt;
};

// Documents are taken in groups that fill the ranks side by side
// (LongDocumentScorer::DocumentsAtOnce); groups are assigned round-robin to the
// coordinates of the data axis. Documents in `journal` (or null) are not scored
// again, and scored documents are added to it if finite. `name` is the row's
// name in the journal and in progress messages. `sink`, if given, is called on
// all ranks of the data coordinate that scores. Collective; the result is the
// same on all ranks. All tokens have been read and checked before.
ScoredRow ScoreRow(const PlannedRow& row, const std::string& name,
                   const Documents& documents, LongDocumentScorer& scorer,
                   DeviceMesh& mesh, DocumentJournal* journal,
                   const DocumentNllSink& sink);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_SCORING_ROW_SCORER_H_

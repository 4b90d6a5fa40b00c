// The rows of an evaluation: every mask x RoPE scaling x protocol x length of a
// configuration. Scaling changes the angles of a rotary model if a mask shows
// queries more positions than the training length; otherwise the row would be a
// duplicate and is skipped.
#ifndef LEXTRA_EVALUATOR_EVALUATION_H_
#define LEXTRA_EVALUATOR_EVALUATION_H_

#include <vector>

#include "base/status.h"
#include "config/run.pb.h"
#include "evaluator/results.h"
#include "evaluator/scoring/document_journal.h"
#include "evaluator/scoring/documents.h"
#include "evaluator/scoring/row_scorer.h"
#include "model/transformer.h"
#include "parallel/device_mesh.h"

namespace lextra {

// Observers of an evaluation.
struct EvaluationHooks {
  DocumentJournal* journal = nullptr;  // stores and supplies scored documents
  DocumentNllSink nll_sink = {};
  bool logs_rows = true;  // one line per row
  // For an unknown tokenizer, bytes are an average for which all documents are
  // read; without this they are NaN.
  bool averages_bytes = false;
};

// Checks what follows from documents and configuration alone: that a document
// is long enough, that the method has positions for the lengths, and that RoPE
// scaling changes some mask. Reads sizes, no tokens. `config` is resolved.
absl::Status CheckEvaluation(const Documents& documents,
                             const ModelConfig& model,
                             const EvaluationConfig& config);

// Collective over the mesh; rows and status are the same on all ranks. A row
// with a non-finite NLL is a NumericError that names the first such target; the
// journal has the other documents. All checks run before the first token is
// scored: of every token, of the memory that a rank needs, and of the method's
// positions. `config` is resolved.
absl::StatusOr<std::vector<ResultRow>> Evaluate(
    Transformer& model, DeviceMesh& mesh, const Documents& documents,
    const EvaluationConfig& config, const EvaluationHooks& hooks = {});

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_EVALUATION_H_

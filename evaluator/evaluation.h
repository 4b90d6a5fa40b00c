// The rows of an evaluation: every mask x RoPE scaling x protocol x length of
// a configuration. Scaling changes the angles of a rotary model where a mask
// shows queries more positions than the training length; elsewhere it would be
// the same row again, and there is none.
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

// What may watch an evaluation.
struct EvaluationHooks {
  DocumentJournal* journal = nullptr;  // takes what is scored, gives what was
  DocumentNllSink nll_sink = {};
  bool logs_rows = true;  // a line for each
  // Bytes of a tokenizer that is not known here are an average, for which all
  // documents are read; without it they are NaN.
  bool averages_bytes = false;
};

// Whatever documents and configurations alone tell against an evaluation: no
// document is long enough, a method has no such places, no mask that
// the RoPE scaling changes. Reads sizes, no tokens. `config` is resolved.
absl::Status CheckEvaluation(const Documents& documents,
                             const ModelConfig& model,
                             const EvaluationConfig& config);

// Collective over the mesh; rows and status are the same on all ranks. A row
// with an NLL that is not finite is a NumericError that names the first target
// of that kind; the journal has the other documents. Whatever can be refused
// is, before the first token is scored: every token is read and checked, and so
// are the memory that a rank needs and the places that a method has. `config`
// is resolved.
absl::StatusOr<std::vector<ResultRow>> Evaluate(
    Transformer& model, DeviceMesh& mesh, const Documents& documents,
    const EvaluationConfig& config, const EvaluationHooks& hooks = {});

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_EVALUATION_H_

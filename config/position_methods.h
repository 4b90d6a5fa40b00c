// What the rest of the program needs to know about a position method: one
// table, used wherever a method would otherwise be named. What a method does to
// queries, keys and embeddings is in model/position/.
#ifndef LEXTRA_CONFIG_POSITION_METHODS_H_
#define LEXTRA_CONFIG_POSITION_METHODS_H_

#include <cstdint>

#include "base/status.h"
#include "config/run.pb.h"

namespace lextra {

struct PositionMethodFacts {
  const char* report_name;         // "xPos"
  int report_order;                // among the methods of a report, from 0
  bool rotates = false;            // pairs of columns of queries and keys
  bool has_exponent = false;       // factors that model.xpos_* set
  bool adds_to_embedding = false;  // a row per position
  bool embeds_pairs = false;       // these rows are pairs of columns
  // The rows are parameters, only of positions below the training length.
  bool is_learned = false;
};

const PositionMethodFacts& FactsOf(PositionMethod method);

// UsageError if `model` has fewer positions than a document of `num_places`
// tokens; `remedy` ends the message.
absl::Status CheckHasPlaces(const ModelConfig& model, int64_t num_places,
                            const char* remedy);

}  // namespace lextra

#endif  // LEXTRA_CONFIG_POSITION_METHODS_H_

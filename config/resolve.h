// From the configuration as written to the effective one: fields whose 0 or
// empty list means "derive it" get their value, and every rule that ties fields
// together is checked. All problems are reported together.
#ifndef LEXTRA_CONFIG_RESOLVE_H_
#define LEXTRA_CONFIG_RESOLVE_H_

#include <cstdint>

#include "base/status.h"
#include "config/run.pb.h"

namespace lextra {

// Tokens of a synthetic task: room for a passkey's two sentences
// (evaluator/synthetic/synthetic_trials.h).
inline constexpr int64_t kShortestTask = 100;

// What the configuration is for: which rules apply.
enum class Purpose { kTrain, kEvaluate };

// Fills every field of `config` (defaults made explicit), replaces derived
// zeros (num_kv_heads, head_dim, ffn_hidden_size, parallel.data, block_size,
// lengths, ..) and checks ranges, divisibility by the tensor degree and the
// mesh against `world_size`. vocab_size stays 0 if not yet known: the data set
// fills it, and a second call checks it. UsageError with one line per problem:
// field, value, what is allowed; `config` is unchanged then.
absl::Status Resolve(RunConfig* config, Purpose purpose, int world_size);

}  // namespace lextra

#endif  // LEXTRA_CONFIG_RESOLVE_H_

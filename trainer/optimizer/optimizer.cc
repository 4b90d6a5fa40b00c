#include "trainer/optimizer/optimizer.h"

#include "trainer/optimizer/adamw.h"

namespace lextra {

std::unique_ptr<Optimizer> MakeOptimizer(FlatParameters& parameters,
                                         const OptimizerConfig& config) {
  return std::make_unique<AdamW>(parameters, config);
}

}  // namespace lextra

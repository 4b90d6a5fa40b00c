// The table of position methods, against the protobuf's list.
#include "config/position_methods.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

namespace lextra {
namespace {

TEST(PositionMethods, EachHasFactsOfItsOwnName) {
  std::set<std::string> names;
  std::set<int> orders;
  for (int i = 0; i < PositionMethod_descriptor()->value_count(); ++i) {
    const auto method = static_cast<PositionMethod>(
        PositionMethod_descriptor()->value(i)->number());
    EXPECT_TRUE(names.insert(FactsOf(method).report_name).second)
        << PositionMethod_Name(method);
    EXPECT_TRUE(orders.insert(FactsOf(method).report_order).second)
        << PositionMethod_Name(method);
  }
}

TEST(PositionMethods, OnlyALearnedTableEndsWithTheTrainingLength) {
  ModelConfig model;
  model.set_training_length(128);
  for (const PositionMethod method : {XPOS, ROPE, NONE, ALIBI, SINUSOIDAL}) {
    model.set_position_encoding(method);
    EXPECT_TRUE(CheckHasPlaces(model, 1 << 20, "").ok());
  }
  model.set_position_encoding(LEARNED);
  EXPECT_TRUE(CheckHasPlaces(model, 128, "").ok());
  const absl::Status refused = CheckHasPlaces(model, 129, "train longer");
  EXPECT_EQ(ExitCodeOf(refused), ExitCode::kUsage);
  EXPECT_EQ(refused.message(),
            "model.position_encoding = LEARNED: no positions beyond "
            "model.training_length = 128, but 129 were requested; train "
            "longer");
}

}  // namespace
}  // namespace lextra

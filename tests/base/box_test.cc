#include "base/box.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

namespace lextra {
namespace {

using ::testing::ElementsAre;

using Place = std::vector<int64_t>;

// The places of a box in C order.
std::vector<Place> PlacesOf(const Box& box) {
  std::vector<Place> places = {{}};
  for (size_t dim = 0; dim < box.shape.size(); ++dim) {
    std::vector<Place> longer;
    for (const Place& place : places) {
      for (int64_t i = 0; i < box.shape[dim]; ++i) {
        longer.push_back(place);
        longer.back().push_back(box.offset[dim] + i);
      }
    }
    places = std::move(longer);
  }
  return places;
}

std::map<Place, int64_t> IndexOf(const Box& box) {
  std::map<Place, int64_t> indices;
  for (const Place& place : PlacesOf(box)) {
    indices.emplace(place, static_cast<int64_t>(indices.size()));
  }
  return indices;
}

class BoxTest : public ::testing::Test {
 protected:
  int64_t Draw(int64_t first, int64_t last) {
    return std::uniform_int_distribution<int64_t>(first, last)(random_);
  }
  // Extents from `smallest` on.
  Box DrawBox(int num_dims, int64_t smallest) {
    Box box;
    for (int i = 0; i < num_dims; ++i) {
      box.offset.push_back(Draw(0, 3));
      box.shape.push_back(Draw(smallest, 4));
    }
    return box;
  }
  // A box around `inner`, which is often as wide in some dimensions.
  Box DrawAround(const Box& inner) {
    Box outer = inner;
    for (size_t dim = 0; dim < inner.shape.size(); ++dim) {
      const int64_t before = Draw(0, 1) * Draw(0, 2);
      outer.offset[dim] -= before;
      outer.shape[dim] += before + Draw(0, 1) * Draw(0, 2);
    }
    return outer;
  }

  std::mt19937_64 random_{7};
};

TEST_F(BoxTest, RunsAreTheElementsOfTheCommonPartInOrder) {
  for (int i = 0; i < 4000; ++i) {
    const Box common = DrawBox(i % 5, 1);
    const Box from_box = DrawAround(common);
    const Box to_box = DrawAround(common);
    const std::map<Place, int64_t> from_index = IndexOf(from_box);
    const std::map<Place, int64_t> to_index = IndexOf(to_box);
    std::vector<std::pair<int64_t, int64_t>> expected;
    for (const Place& place : PlacesOf(common)) {
      expected.emplace_back(from_index.at(place), to_index.at(place));
    }
    std::vector<std::pair<int64_t, int64_t>> found;
    ForEachRun(common, from_box, to_box,
               [&](int64_t from, int64_t to, int64_t count) {
                 for (int64_t k = 0; k < count; ++k) {
                   found.emplace_back(from + k, to + k);
                 }
               });
    ASSERT_EQ(found, expected) << "case " << i;
  }
}

TEST_F(BoxTest, RunsAreNotShorterThanTheyMustBe) {
  for (int i = 0; i < 2000; ++i) {
    const Box common = DrawBox(1 + i % 4, 1);
    const Box from_box = DrawAround(common);
    const Box to_box = DrawAround(common);
    // Whole rows of the last dimension at least, and all of it where all boxes
    // are the same.
    ForEachRun(common, from_box, to_box, [&](int64_t, int64_t, int64_t count) {
      EXPECT_EQ(count % common.shape.back(), 0);
    });
    int num_runs = 0;
    ForEachRun(common, common, common,
               [&](int64_t, int64_t, int64_t) { ++num_runs; });
    EXPECT_EQ(num_runs, 1);
  }
}

TEST_F(BoxTest, IntersectionIsTheSharedPlaces) {
  for (int i = 0; i < 2000; ++i) {
    const Box a = DrawBox(i % 4, 0);
    const Box b = DrawBox(i % 4, 0);
    std::vector<Place> shared;
    const std::map<Place, int64_t> in_b = IndexOf(b);
    for (const Place& place : PlacesOf(a)) {
      if (in_b.contains(place)) shared.push_back(place);
    }
    const std::optional<Box> common = Intersect(a, b);
    EXPECT_EQ(common ? PlacesOf(*common) : std::vector<Place>(), shared);
  }
}

TEST_F(BoxTest, ContainsABoxWhenItHasEachPlaceOfIt) {
  int num_within = 0;
  for (int i = 0; i < 2000; ++i) {
    const Box inner = DrawBox(i % 4, 1);
    const Box outer = i % 3 == 0 ? DrawAround(inner) : DrawBox(i % 4, 1);
    const std::map<Place, int64_t> in_outer = IndexOf(outer);
    bool within = true;
    for (const Place& place : PlacesOf(inner)) {
      within = within && in_outer.contains(place);
    }
    num_within += within;
    EXPECT_EQ(Contains(outer, inner), within);
  }
  EXPECT_GT(num_within, 600);
}

TEST_F(BoxTest, ARangeOfElementsIsFewBoxesInOrder) {
  for (int i = 0; i < 4000; ++i) {
    const int num_dims = 1 + i % 4;
    std::vector<int64_t> shape;
    for (int dim = 0; dim < num_dims; ++dim) shape.push_back(Draw(1, 4));
    const std::vector<Place> all = PlacesOf(Box::Whole(shape));
    const int64_t begin = Draw(0, std::ssize(all));
    const int64_t end = Draw(begin, std::ssize(all));
    std::vector<Place> found;
    const std::vector<Box> boxes = BoxesOfRange(shape, begin, end);
    for (const Box& box : boxes) {
      EXPECT_GT(box.num_elements(), 0);
      const std::vector<Place> places = PlacesOf(box);
      found.insert(found.end(), places.begin(), places.end());
    }
    ASSERT_EQ(found, std::vector<Place>(all.begin() + begin, all.begin() + end))
        << "case " << i;
    EXPECT_LE(std::ssize(boxes), 2 * num_dims - 1);
  }
  EXPECT_THAT(BoxesOfRange({3, 4}, 0, 12), ElementsAre(Box::Whole({3, 4})));
  EXPECT_THAT(BoxesOfRange({4, 4}, 3, 14),
              ElementsAre(Box{{0, 3}, {1, 1}}, Box{{1, 0}, {2, 4}},
                          Box{{3, 0}, {1, 2}}));
}

TEST_F(BoxTest, CutsLieAtTheMultiplesAndLoseNothing) {
  EXPECT_THAT(CutAtMultiples({{3, 1}, {7, 2}}, 0, 4),
              ElementsAre(Box{{3, 1}, {1, 2}}, Box{{4, 1}, {4, 2}},
                          Box{{8, 1}, {2, 2}}));
  EXPECT_THAT(CutAtMultiples({{4}, {4}}, 0, 4), ElementsAre(Box{{4}, {4}}));
  EXPECT_THAT(CutAtMultiples({{4}, {0}}, 0, 4), ElementsAre());
  for (int i = 0; i < 500; ++i) {
    const Box box = DrawBox(1 + i % 3, 1);
    const int dim = static_cast<int>(Draw(0, i % 3));
    const int64_t extent = Draw(1, 5);
    int64_t next = box.offset[dim];
    for (const Box& part : CutAtMultiples(box, dim, extent)) {
      EXPECT_EQ(part.offset[dim], next);
      next += part.shape[dim];
      // Its first and last place have the same multiple below them.
      EXPECT_EQ(part.offset[dim] / extent, (next - 1) / extent);
      Box same = part;
      same.offset[dim] = box.offset[dim];
      same.shape[dim] = box.shape[dim];
      EXPECT_EQ(same, box);
    }
    EXPECT_EQ(next, box.offset[dim] + box.shape[dim]);
  }
}

TEST(LiesWithin, AsksForTheSameDimensionsAndNothingOutside) {
  EXPECT_TRUE(LiesWithin({{1, 2}, {2, 3}}, {3, 5}));
  EXPECT_FALSE(LiesWithin({{1, 2}, {2, 4}}, {3, 5}));
  EXPECT_FALSE(LiesWithin({{-1, 2}, {2, 3}}, {3, 5}));
  EXPECT_FALSE(LiesWithin({{1, 2}, {0, 3}}, {3, 5}));
  EXPECT_FALSE(LiesWithin({{1}, {2}}, {3, 5}));
  EXPECT_FALSE(LiesWithin({{INT64_MAX, 0}, {2, 3}}, {3, 5}));
}

TEST(FindOverlap, FindsTwoBoxesThatShareAPlace) {
  std::vector<Box> boxes;
  for (int64_t row = 0; row < 100; ++row) boxes.push_back({{row, 0}, {1, 4}});
  EXPECT_FALSE(FindOverlap(boxes));
  boxes.push_back({{41, 3}, {2, 1}});
  const auto found = FindOverlap(boxes);
  ASSERT_TRUE(found);
  EXPECT_TRUE(Intersect(found->first, found->second));
  EXPECT_TRUE(FindOverlap({{{}, {}}, {{}, {}}})) << "two scalars";
}

}  // namespace
}  // namespace lextra

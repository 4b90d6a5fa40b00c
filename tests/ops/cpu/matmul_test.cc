#include "ops/cpu/matmul.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "base/work_counter.h"

namespace lextra {
namespace {

template <typename Scalar>
std::vector<Scalar> Numbers(int64_t count, int seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<Scalar> numbers(count);
  for (Scalar& number : numbers) number = static_cast<Scalar>(uniform(random));
  return numbers;
}

struct Case {
  int64_t rows, columns, inner;
  bool a_transposed, b_transposed;
  int64_t padding;  // between the rows of a, b and c as they stand
  bool bias, accumulate;
};

// A matrix in its own memory; what is between its rows is NaN.
template <typename Scalar>
struct Stored {
  Stored(int64_t rows, int64_t columns, bool transposed, int64_t padding,
         int seed) {
    const int64_t outer = transposed ? columns : rows;
    const int64_t contiguous = transposed ? rows : columns;
    const int64_t step = contiguous + padding;
    numbers.assign(outer * step + 1, std::numeric_limits<Scalar>::quiet_NaN());
    const std::vector<Scalar> values =
        Numbers<Scalar>(outer * contiguous, seed);
    for (int64_t i = 0; i < outer; ++i) {
      std::copy_n(values.begin() + i * contiguous, contiguous,
                  numbers.begin() + i * step);
    }
    view = {numbers.data(), transposed ? 1 : step, transposed ? step : 1};
  }
  Scalar At(int64_t i, int64_t j) const {
    return view.data[i * view.row_step + j * view.column_step];
  }

  std::vector<Scalar> numbers;
  MatrixView<Scalar> view;
};

// Compares with sums in fp64, relative to the sum of absolute products.
template <typename Scalar>
void Check(const Case& c, const MatrixTiles<Scalar>& tiles) {
  SCOPED_TRACE(std::string(tiles.instruction_set) + ": " +
               testing::PrintToString(std::tuple(
                   c.rows, c.columns, c.inner, c.a_transposed, c.b_transposed,
                   c.padding, c.bias, c.accumulate)));
  const Stored<Scalar> a(c.rows, c.inner, c.a_transposed, c.padding, 1);
  const Stored<Scalar> b(c.inner, c.columns, c.b_transposed, c.padding, 2);
  const std::vector<Scalar> bias = Numbers<Scalar>(c.columns, 3);
  const Stored<Scalar> start(c.rows, c.columns, false, c.padding, 4);
  Stored<Scalar> result = start;
  MultiplyOnCpu<Scalar>(a.view, b.view, c.rows, c.columns, c.inner,
                        {.data = result.numbers.data(),
                         .row_step = c.columns + c.padding,
                         .bias = c.bias ? bias.data() : nullptr,
                         .accumulate = c.accumulate},
                        /*finish_rows=*/nullptr, tiles);
  result.view.data = result.numbers.data();
  for (int64_t i = 0; i < c.rows; ++i) {
    for (int64_t j = 0; j < c.columns; ++j) {
      double sum = c.bias ? bias[j] : c.accumulate ? start.At(i, j) : 0;
      double size = std::abs(sum);
      for (int64_t k = 0; k < c.inner; ++k) {
        const double product = double{a.At(i, k)} * double{b.At(k, j)};
        sum += product;
        size += std::abs(product);
      }
      // Rounding adds up like a walk: 16 units in the last place is far.
      ASSERT_NEAR(result.At(i, j), sum,
                  16 * std::numeric_limits<Scalar>::epsilon() * size + 1e-300)
          << "at " << i << ", " << j;
    }
    for (int64_t j = 0; j < c.padding; ++j) {
      ASSERT_TRUE(std::isnan(result.At(i, c.columns + j))) << "wrote beyond";
    }
  }
}

template <typename Scalar>
class MatrixProductTest : public testing::Test {};
using Scalars = testing::Types<float, double>;
TYPED_TEST_SUITE(MatrixProductTest, Scalars);

TYPED_TEST(MatrixProductTest, EqualsSumsInDoublePrecisionAtEveryEdge) {
  for (const MatrixTiles<TypeParam>& tiles :
       SupportedMatrixTiles<TypeParam>()) {
    for (const int64_t rows : {1, 5, 6, 7, 13}) {
      for (const int64_t columns : {1, 3, 8, 16, 17, 64, 75}) {
        for (const int64_t inner : {1, 2, 16, 37}) {
          for (int bits = 0; bits < 8; ++bits) {
            Check<TypeParam>({.rows = rows,
                              .columns = columns,
                              .inner = inner,
                              .a_transposed = (bits & 1) != 0,
                              .b_transposed = (bits & 2) != 0,
                              .padding = (bits & 4) != 0 ? 5 : 0,
                              .bias = bits == 3 || bits == 4,
                              .accumulate = bits == 1 || bits == 6},
                             tiles);
          }
        }
      }
    }
  }
}

// More rows, columns and products than a block of each has.
TYPED_TEST(MatrixProductTest, AddsBlocksOfTheInnerDimensionUp) {
  for (const MatrixTiles<TypeParam>& tiles :
       SupportedMatrixTiles<TypeParam>()) {
    for (int bits = 0; bits < 4; ++bits) {
      Check<TypeParam>({.rows = 131,
                        .columns = 81,
                        .inner = 900,
                        .a_transposed = (bits & 1) != 0,
                        .b_transposed = (bits & 2) != 0,
                        .padding = 0,
                        .bias = bits % 2 == 0,
                        .accumulate = bits % 2 == 1},
                       tiles);
    }
  }
}

// Rows a power of two apart are copied, and more columns than are copied at a
// time make several passes.
TYPED_TEST(MatrixProductTest, CopiesWideOperandsInPieces) {
  Check<TypeParam>({.rows = 7,
                    .columns = 2048,
                    .inner = 1024,
                    .a_transposed = false,
                    .b_transposed = false,
                    .padding = 0,
                    .bias = true,
                    .accumulate = false},
                   SupportedMatrixTiles<TypeParam>()[0]);
}

TYPED_TEST(MatrixProductTest, EmptyMatricesGiveWhatTheResultStartsFrom) {
  const MatrixTiles<TypeParam>& tiles = SupportedMatrixTiles<TypeParam>()[0];
  for (const bool accumulate : {false, true}) {
    Case empty = {.rows = 3,
                  .columns = 4,
                  .inner = 0,
                  .a_transposed = false,
                  .b_transposed = false,
                  .padding = 1,
                  .bias = false,
                  .accumulate = accumulate};
    Check<TypeParam>(empty, tiles);
    empty.inner = 2;
    empty.rows = 0;
    Check<TypeParam>(empty, tiles);
    empty.rows = 3;
    empty.columns = 0;
    Check<TypeParam>(empty, tiles);
  }
}

TYPED_TEST(MatrixProductTest, ResultsAreTheSameForAnyNumberOfThreads) {
  constexpr int64_t kRows = 301, kColumns = 130, kInner = 700;
  const Stored<TypeParam> a(kRows, kInner, false, 0, 1);
  const Stored<TypeParam> b(kInner, kColumns, true, 0, 2);
  std::vector<std::vector<TypeParam>> results;
  const int threads_before = at::get_num_threads();
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    std::vector<TypeParam>& result = results.emplace_back(kRows * kColumns);
    MultiplyOnCpu<TypeParam>(a.view, b.view, kRows, kColumns, kInner,
                             {.data = result.data(), .row_step = kColumns});
  }
  at::set_num_threads(threads_before);
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

TYPED_TEST(MatrixProductTest, FinishesEachRowOnceWhenAllOfItIsThere) {
  // Columns beyond those that are copied at a time.
  constexpr int64_t kRows = 205, kColumns = 1100, kInner = 1024;
  const Stored<TypeParam> a(kRows, kInner, false, 0, 1);
  const Stored<TypeParam> b(kInner, kColumns, true, 0, 2);
  std::vector<TypeParam> plain(kRows * kColumns);
  MultiplyOnCpu<TypeParam>(a.view, b.view, kRows, kColumns, kInner,
                           {.data = plain.data(), .row_step = kColumns});
  std::vector<TypeParam> negated(kRows * kColumns);
  MultiplyOnCpu<TypeParam>(a.view, b.view, kRows, kColumns, kInner,
                           {.data = negated.data(), .row_step = kColumns},
                           [&](int64_t begin, int64_t end) {
                             for (int64_t i = begin * kColumns;
                                  i < end * kColumns; ++i) {
                               negated[i] = -negated[i];
                             }
                           });
  for (int64_t i = 0; i < kRows * kColumns; ++i) {
    ASSERT_EQ(negated[i], -plain[i]) << i;
  }
}

// Causal attention packs the keys of a head once and uses the first of them.
TYPED_TEST(MatrixProductTest, APackedOperandMultipliesItsFirstPartAlone) {
  constexpr int64_t kRows = 9, kColumns = 100, kInner = 50;
  const Stored<TypeParam> a(kRows, kInner, false, 0, 1);
  const Stored<TypeParam> b(kInner, kColumns, true, 0, 2);
  for (const MatrixTiles<TypeParam>& tiles :
       SupportedMatrixTiles<TypeParam>()) {
    RightOperand<TypeParam> right(tiles);
    right.Pack(b.view, kInner, kColumns, TypeParam(2));
    constexpr int64_t kSeen = 69, kDepth = 33;
    std::vector<TypeParam> c(kRows * kSeen);
    right.Multiply(a.view, kRows, kSeen, kDepth,
                   {.data = c.data(), .row_step = kSeen});
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t j = 0; j < kSeen; ++j) {
        double sum = 0;
        for (int64_t k = 0; k < kDepth; ++k) {
          sum += 2 * double{a.At(i, k)} * double{b.At(k, j)};
        }
        ASSERT_NEAR(c[i * kSeen + j], sum,
                    100 * std::numeric_limits<TypeParam>::epsilon());
      }
    }
  }
}

TEST(MatrixProduct, RowsOfALongProductAreWork) {
  constexpr int64_t kRows = 10000;
  const std::vector<float> a(kRows * 8, 1);
  const std::vector<float> b(8 * 8, 1);
  std::vector<float> c(kRows * 8);
  WorkCounter counter;
  const ScopedWorkCounter counted(counter);
  MultiplyOnCpu<float>({a.data(), 8, 1}, {b.data(), 8, 1}, kRows, 8, 8,
                       {c.data(), 8});
  EXPECT_GE(counter.count(), 10u);
}

}  // namespace
}  // namespace lextra

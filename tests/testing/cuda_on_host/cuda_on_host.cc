#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "cuda_runtime.h"

dim3 threadIdx;
dim3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace {

constexpr size_t kStackBytes = 64 * 1024;
constexpr size_t kWarp = 32;

enum class State { kReady, kAtBlockBarrier, kAtWarpBarrier, kEnded };

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  State state = State::kReady;
};

// One block at a time.
class Block {
 public:
  explicit Block(size_t num_threads) : fibers_(num_threads) {
    for (Fiber& fiber : fibers_) {
      fiber.stack = std::make_unique<char[]>(kStackBytes);
    }
    lanes_.resize(num_threads);
  }

  void Run(const std::function<void()>& body) {
    body_ = &body;
    for (Fiber& fiber : fibers_) {
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.get();
      fiber.context.uc_stack.ss_size = kStackBytes;
      fiber.context.uc_link = &scheduler_;
      makecontext(&fiber.context, &Block::Enter, 0);
      fiber.state = State::kReady;
    }
    do {
      for (size_t begin = 0; begin < fibers_.size(); begin += kWarp) {
        RunWarp(begin, std::min(begin + kWarp, fibers_.size()));
      }
    } while (Release(0, fibers_.size(), State::kAtBlockBarrier));
    if (!AllEnded()) {
      std::fprintf(stderr,
                   "cuda_on_host: threads wait at a barrier that others "
                   "have passed by\n");
      std::abort();
    }
  }

  void Wait(State at) {
    fibers_[current_].state = at;
    swapcontext(&fibers_[current_].context, &scheduler_);
  }

  uint64_t Exchange(uint64_t mine, int lane) {
    const size_t warp_begin = current_ / kWarp * kWarp;
    lanes_[current_] = mine;
    Wait(State::kAtWarpBarrier);
    const uint64_t theirs = lanes_.at(warp_begin + lane);
    // No lane writes its next value before all have read this one.
    Wait(State::kAtWarpBarrier);
    return theirs;
  }

  static Block* running;

 private:
  static void Enter() {
    (*running->body_)();
    running->fibers_[running->current_].state = State::kEnded;
  }

  // As far as it gets without the block's other warps, so that a barrier of the
  // block that is missing shows.
  void RunWarp(size_t begin, size_t end) {
    do {
      for (current_ = begin; current_ < end; ++current_) {
        if (fibers_[current_].state != State::kReady) continue;
        threadIdx = dim3(static_cast<unsigned>(current_));
        swapcontext(&scheduler_, &fibers_[current_].context);
      }
    } while (Release(begin, end, State::kAtWarpBarrier));
  }

  // Whether all fibers begin .. end - 1 that have not ended are at `at`; if so
  // they may continue.
  bool Release(size_t begin, size_t end, State at) {
    bool any = false;
    for (size_t i = begin; i < end; ++i) {
      if (fibers_[i].state == State::kEnded) continue;
      if (fibers_[i].state != at) return false;
      any = true;
    }
    for (size_t i = begin; i < end; ++i) {
      if (fibers_[i].state == at) fibers_[i].state = State::kReady;
    }
    return any;
  }

  bool AllEnded() const {
    for (const Fiber& fiber : fibers_) {
      if (fiber.state != State::kEnded) return false;
    }
    return true;
  }

  std::vector<Fiber> fibers_;
  std::vector<uint64_t> lanes_;
  ucontext_t scheduler_;
  size_t current_ = 0;
  const std::function<void()>* body_ = nullptr;
};

Block* Block::running = nullptr;

}  // namespace

cudaError_t RunOnHost(dim3 grid, dim3 block,
                      const std::function<void()>& body) {
  if (block.x == 0 || block.x > 1024 || block.y * block.z != 1 || grid.x == 0) {
    return cudaErrorInvalidConfiguration;
  }
  Block fibers(block.x);
  Block::running = &fibers;
  blockDim = block;
  gridDim = grid;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        fibers.Run(body);
      }
    }
  }
  Block::running = nullptr;
  return cudaSuccess;
}

void __syncthreads() { Block::running->Wait(State::kAtBlockBarrier); }

void __syncwarp(unsigned) { Block::running->Wait(State::kAtWarpBarrier); }

uint64_t ExchangeInWarp(uint64_t mine, int lane) {
  return Block::running->Exchange(mine, lane);
}

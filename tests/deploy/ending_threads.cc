// Stands for a launcher without ranks whose threads begin and end all the time,
// for four seconds.
#include <chrono>
#include <thread>
#include <vector>

int main() {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(4);
  while (std::chrono::steady_clock::now() < end) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 200; ++i) {
      threads.emplace_back([i] {
        std::this_thread::sleep_for(std::chrono::microseconds(50 * i));
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

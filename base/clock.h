// Times, as seconds and as text.
#ifndef LEXTRA_BASE_CLOCK_H_
#define LEXTRA_BASE_CLOCK_H_

#include <chrono>
#include <string>

namespace lextra {

double SecondsSince(std::chrono::steady_clock::time_point start);

// Now in UTC: "2026-01-02T03:04:05Z"; for names of files with microseconds:
// "20260102T030405.123456".
std::string UtcTime();
std::string UtcTimeForNames();

}  // namespace lextra

#endif  // LEXTRA_BASE_CLOCK_H_

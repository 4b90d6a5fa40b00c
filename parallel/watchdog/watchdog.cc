#include "parallel/watchdog/watchdog.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/failure.h"
#include "parallel/mpi/mpi_check.h"
#include "parallel/watchdog/hang_diagnosis.h"

namespace lextra {
namespace {

// steady_clock is CLOCK_MONOTONIC.
using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr double kLongestPeriodSeconds = 1;
constexpr double kLongestSilenceSeconds = 10;
constexpr auto kPollWhileStopping = std::chrono::milliseconds(2);

struct Beat {
  ActivitySnapshot activity;
  std::array<char, 64> host = {};
  bool finished = false;
};
static_assert(std::is_trivially_copyable_v<Beat>);

double SecondsBetween(Clock::time_point then, Clock::time_point now) {
  return Seconds(now - then).count();
}

// Since when a rank has made no progress: its host, or its GPU, which its host
// may run ahead of.
class Movement {
 public:
  void See(const ActivitySnapshot& before, const ActivitySnapshot& after,
           Clock::time_point now) {
    // A host that waits for its GPU progresses with it. One that has just left
    // a call may report that before it reports progress.
    const bool works = after.device_work != before.device_work;
    if (works || after.progress != before.progress ||
        after.in_call != before.in_call) {
      host_ = now;
    }
    if (works || after.device_call != before.device_call) device_ = now;
    if (after.device_call == 0) device_ = Clock::time_point::max();
  }
  void Reset(Clock::time_point now) {
    host_ = now;
    device_ = std::max(device_, now);
  }
  // The ranks that it waits for, if known.
  void SeeWait(std::optional<std::vector<int>> missing, Clock::time_point now) {
    if (missing && missing_ && *missing != *missing_) Reset(now);
    missing_ = std::move(missing);
  }
  double IdleSeconds(Clock::time_point now) const {
    return SecondsBetween(std::min(host_, device_), now);
  }

 private:
  Clock::time_point host_ = Clock::now();
  Clock::time_point device_ = Clock::time_point::max();  // in no call
  std::optional<std::vector<int>> missing_;
};

// Another rank: the messages from and to it, and its last heartbeat.
class Peer {
 public:
  Peer(MPI_Comm comm, int rank) : comm_(comm), rank_(rank) { Listen(); }

  // Takes the heartbeats that have arrived.
  void Receive(Clock::time_point now) {
    while (receive_ != MPI_REQUEST_NULL) {
      int came = 0;
      LEXTRA_CHECK_MPI(MPI_Test(&receive_, &came, MPI_STATUS_IGNORE));
      if (!came) return;
      heard_ = now;
      movement_.See(last_.activity, incoming_.activity, now);
      last_ = incoming_;
      if (!last_.finished) Listen();
    }
  }

  // Sends `beat` unless the last one is still in flight or was the final one.
  void Send(const Beat& beat) {
    if (said_finished_ || !SendIsDone()) return;
    outgoing_ = beat;
    said_finished_ = beat.finished;
    // Synchronous: completes only when the peer has received it, so messages to
    // a stopped peer don't pile up.
    LEXTRA_CHECK_MPI(MPI_Issend(&outgoing_, sizeof(Beat), MPI_BYTE, rank_, 0,
                                comm_, &send_));
  }

  bool SendIsDone() {
    int done = 0;
    LEXTRA_CHECK_MPI(MPI_Test(&send_, &done, MPI_STATUS_IGNORE));
    return done != 0;
  }
  bool has_finished() const { return last_.finished; }
  bool said_finished() const { return said_finished_; }

  void ResetClocks(Clock::time_point now) {
    heard_ = now;
    movement_.Reset(now);
  }
  Movement& movement() { return movement_; }
  RankState State(Clock::time_point now) const {
    return {.activity = last_.activity,
            .host = last_.host.data(),
            .silent_seconds = SecondsBetween(heard_, now),
            .idle_seconds = movement_.IdleSeconds(now),
            .finished = last_.finished};
  }

 private:
  void Listen() {
    LEXTRA_CHECK_MPI(MPI_Irecv(&incoming_, sizeof(Beat), MPI_BYTE, rank_, 0,
                               comm_, &receive_));
  }

  MPI_Comm comm_;
  int rank_;
  MPI_Request receive_ = MPI_REQUEST_NULL;
  MPI_Request send_ = MPI_REQUEST_NULL;
  Beat incoming_;
  Beat outgoing_;
  Beat last_;
  bool said_finished_ = false;
  Clock::time_point heard_ = Clock::now();
  Movement movement_;
};

}  // namespace

class Watchdog::Thread {
 public:
  Thread(std::shared_ptr<Activity> activity, const std::string& host,
         double timeout_seconds, double patience_seconds)
      : activity_(std::move(activity)) {
    host.copy(own_.host.data(), own_.host.size() - 1);
    LEXTRA_CHECK_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &comm_));
    LEXTRA_CHECK_MPI(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN));
    int size = 1;
    LEXTRA_CHECK_MPI(MPI_Comm_rank(comm_, &rank_));
    LEXTRA_CHECK_MPI(MPI_Comm_size(comm_, &size));
    const int end = rank_ == 0 ? size : 1;
    for (int peer = rank_ == 0 ? 1 : 0; peer < end; ++peer) {
      peers_.push_back(std::make_unique<Peer>(comm_, peer));
    }
    period_ = std::chrono::duration_cast<Clock::duration>(
        Seconds(std::min(kLongestPeriodSeconds, timeout_seconds / 10)));
    limits_ = {
        .silence_seconds = std::min(kLongestSilenceSeconds, timeout_seconds) *
                           std::max(1, rank_),
        .idle_seconds = timeout_seconds,
        .patience_seconds = patience_seconds};
    thread_ = std::thread([this] { Watch(); });
  }

  void Stop() {
    Join(Wish::kStop);
    LEXTRA_CHECK_MPI(MPI_Comm_free(&comm_));
  }
  void Leave() { Join(Wish::kLeave); }

 private:
  enum class Wish { kWatch, kStop, kLeave };

  void Join(Wish wish) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      wish_ = wish;
    }
    wished_.notify_one();
    thread_.join();
  }

  // Sleeps until the next heartbeat is due, or until there is a wish.
  Wish Sleep() {
    std::unique_lock<std::mutex> lock(mutex_);
    if (wish_ == Wish::kStop) {
      lock.unlock();
      std::this_thread::sleep_for(kPollWhileStopping);
      return Wish::kStop;
    }
    wished_.wait_until(lock, due_, [this] { return wish_ != Wish::kWatch; });
    return wish_;
  }

  void Watch();
  [[noreturn]] void EndJob(const std::string& report);
  ActivitySnapshot Snapshot();
  void SendBeats(bool stopping);
  bool AllFinished();
  std::vector<RankState> States(Clock::time_point now, bool stopping);
  std::vector<RankState> StatesOfAll(Clock::time_point now, bool stopping);
  void ResetClocks(Clock::time_point now);

  std::shared_ptr<Activity> activity_;
  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  Clock::duration period_;
  WatchLimits limits_;
  std::vector<std::unique_ptr<Peer>> peers_;  // on rank 0 all, else rank 0
  Clock::time_point due_;

  // This rank itself.
  Beat own_;
  Movement own_movement_;

  std::mutex mutex_;
  std::condition_variable wished_;
  Wish wish_ = Wish::kWatch;
  std::thread thread_;
};

void Watchdog::Thread::Watch() {
  const double late_seconds =
      std::max(1.0, std::min(kLongestSilenceSeconds, limits_.idle_seconds) / 2);
  due_ = Clock::now();
  while (true) {
    const Wish wish = Sleep();
    if (wish == Wish::kLeave) return;
    const Clock::time_point now = Clock::now();
    for (const std::unique_ptr<Peer>& peer : peers_) peer->Receive(now);
    if (const auto error = activity_->in_flight_calls().Error()) {
      EndJob("watchdog: " + *error);
    }
    SendBeats(wish == Wish::kStop);
    if (wish == Wish::kStop && AllFinished()) return;
    // This process, and perhaps its host, was stopped: it missed heartbeats
    // because it was not listening.
    if (SecondsBetween(due_, now) > late_seconds) ResetClocks(now);
    if (const auto diagnosis =
            Diagnose(States(now, wish == Wish::kStop), limits_)) {
      EndJob(diagnosis->report);
    }
    due_ = now + period_;
  }
}

void Watchdog::Thread::EndJob(const std::string& report) {
  AbortAllRanks(ExitCode::kCommunication, report,
                [this] { activity_->in_flight_calls().AbortAll(); });
}

ActivitySnapshot Watchdog::Thread::Snapshot() {
  ActivitySnapshot activity = activity_->Snapshot();
  activity.device_work = activity_->in_flight_calls().NumWorkDone();
  const auto oldest = activity_->in_flight_calls().OldestCall();
  if (!oldest) return activity;
  activity.device_call = oldest->number;
  // A call that the host itself waits in is more specific.
  if (!activity.in_call) {
    activity.in_call = true;
    activity.call = oldest->call;
    if (activity.call.group == ActivitySnapshot::kMaxGroups) {
      activity.call.group = -1;
    }
  }
  return activity;
}

void Watchdog::Thread::SendBeats(bool stopping) {
  const ActivitySnapshot activity = Snapshot();
  own_movement_.See(own_.activity, activity, Clock::now());
  own_.activity = activity;
  // Rank 0 releases the others when all have arrived.
  own_.finished =
      stopping && (rank_ != 0 || std::all_of(peers_.begin(), peers_.end(),
                                             [](const auto& peer) {
                                               return peer->has_finished();
                                             }));
  for (const std::unique_ptr<Peer>& peer : peers_) peer->Send(own_);
}

bool Watchdog::Thread::AllFinished() {
  return std::all_of(peers_.begin(), peers_.end(), [](const auto& peer) {
    return peer->has_finished() && peer->said_finished() && peer->SendIsDone();
  });
}

std::vector<RankState> Watchdog::Thread::States(Clock::time_point now,
                                                bool stopping) {
  if (rank_ != 0) {
    // Of rank 0 only whether it is alive.
    RankState leader = peers_[0]->State(now);
    leader.idle_seconds = 0;
    return {leader};
  }
  std::vector<std::optional<std::vector<int>>> waits =
      LongWaits(StatesOfAll(now, stopping), limits_);
  own_movement_.SeeWait(std::move(waits[0]), now);
  for (size_t i = 0; i < peers_.size(); ++i) {
    peers_[i]->movement().SeeWait(std::move(waits[i + 1]), now);
  }
  return StatesOfAll(now, stopping);
}

std::vector<RankState> Watchdog::Thread::StatesOfAll(Clock::time_point now,
                                                     bool stopping) {
  std::vector<RankState> states = {
      {.activity = own_.activity,
       .host = own_.host.data(),
       .idle_seconds = own_movement_.IdleSeconds(now),
       .finished = stopping}};
  for (const std::unique_ptr<Peer>& peer : peers_) {
    states.push_back(peer->State(now));
  }
  return states;
}

void Watchdog::Thread::ResetClocks(Clock::time_point now) {
  own_movement_.Reset(now);
  for (const std::unique_ptr<Peer>& peer : peers_) peer->ResetClocks(now);
}

Watchdog::Watchdog(std::shared_ptr<Activity> activity, const std::string& host,
                   double timeout_seconds, double patience_seconds)
    : thread_(std::make_unique<Thread>(std::move(activity), host,
                                       timeout_seconds, patience_seconds)) {}

Watchdog::~Watchdog() {
  if (thread_ == nullptr) return;
  thread_->Leave();
  // MPI may write to messages in flight until it is aborted.
  static_cast<void>(thread_.release());
}

void Watchdog::Stop() {
  thread_->Stop();
  thread_ = nullptr;
}

}  // namespace lextra

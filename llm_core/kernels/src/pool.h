// Threads that walk through the phases of a run together, without waiting for each other.
//
// A run is a list of phases, a phase is a number of units that any thread may take. A thread goes
// on when all units of a phase are done, not when all threads have arrived: a thread that the
// system has put aside holds up the others only while it has a unit in hand. It catches up through
// exhausted phases later, even if new runs have begun, because each run has counters of its own.
#ifndef LM_POOL_H
#define LM_POOL_H

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace lm {

struct Phase {
    alignas(64) std::atomic<uint32_t> next{0};  // turn to take units
    alignas(64) std::atomic<uint32_t> done{0};  // units done
};

// Units [begin, end) that the given turn takes: large pieces first, single units in the end, so
// that threads finish together whatever their speed.
struct Piece {
    uint32_t begin, end;
};
Piece piece_of(uint32_t turn, uint32_t units, uint32_t threads);

// Spins a while, then yields. Nanoseconds spent after the first yield.
int64_t wait_for(const std::atomic<uint32_t>& count, uint32_t value);

// One thread's way through a run.
class Walk {
public:
    Walk(Phase* phases, int threads, int index)
        : phases_(phases), threads_(threads), index_(index) {}

    int index() const { return index_; }
    int64_t stalled() const { return stalled_; }  // nanoseconds lost to threads that were put aside

    // Units that were handed out: what wait() needs to know of them.
    struct Handed {
        const Phase* phase;  // null: all are done
        uint32_t units;
    };

    // Calls work(begin, end) for the pieces this thread gets; returns when all units are done.
    template <class Work>
    void share(int count, Work&& work) {
        wait(hand_out(count, work));
    }

    // The same, but returns when no unit is left to take.
    template <class Work>
    Handed hand_out(int count, Work&& work) {
        const uint32_t units = static_cast<uint32_t>(count);
        Phase& phase = phases_[at_++];
        if (threads_ == 1) {
            if (units > 0) work(0, count);
            return {nullptr, 0};
        }
        uint32_t mine = 0;
        for (;;) {
            uint32_t turn = phase.next.fetch_add(1, std::memory_order_relaxed);
            Piece piece = piece_of(turn, units, static_cast<uint32_t>(threads_));
            if (piece.begin >= piece.end) break;
            work(static_cast<int>(piece.begin), static_cast<int>(piece.end));
            mine += piece.end - piece.begin;
        }
        if (mine) phase.done.fetch_add(mine, std::memory_order_acq_rel);
        return {&phase, units};
    }

    void wait(Handed handed) {
        if (handed.phase) stalled_ += wait_for(handed.phase->done, handed.units);
    }

private:
    Phase* phases_;
    int threads_, index_, at_ = 0;
    int64_t stalled_ = 0;
};

using Body = void (*)(void* plan, Walk& walk);

class Pool {
public:
    explicit Pool(int threads);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int threads() const { return threads_; }
    int slots() const { return static_cast<int>(runs_.size()); }
    // A slot whose earlier run no thread looks at any more: its plan may be written.
    int free_slot();
    // Runs body(plan, walk) on up to `threads` threads, the caller among them. After a run that
    // lost most of its time to a thread that the system had put aside the next few runs have one
    // thread: on a busy machine waiting costs more than a second thread brings.
    void run(int slot, int threads, int phases, Body body, void* plan);

private:
    struct Run {
        std::unique_ptr<Phase[]> phases;
        int size = 0, threads = 0;
        Body body = nullptr;
        void* plan = nullptr;
        std::atomic<int> users{0};
    };

    void work(int index);
    void judge(int64_t stalled, int64_t total);

    int threads_;
    int alone_ = 0, penalty_ = 0;  // runs left with one thread, and how many the last time
    std::vector<std::unique_ptr<Run>> runs_;
    std::vector<std::thread> workers_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<uint64_t> ticket_{0};
    int current_ = -1, sleeping_ = 0;
    bool stop_ = false;
};

}  // namespace lm

#endif

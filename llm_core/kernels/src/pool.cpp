#include "pool.h"

#include <chrono>

namespace lm {

namespace {

constexpr int kSpins = 4000;    // of about 20 ns before a waiting thread yields
constexpr int kMostAlone = 64;  // runs with one thread after repeated stalls
// Nanoseconds that a thread without a run spins before it sleeps. Waking takes longer than what
// lies between two tokens of a reply: where runs follow each other so soon, it waits for them.
constexpr int64_t kShortRest = 100'000, kLongRest = 400'000;

int64_t nanoseconds() {
    auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Spins until `ticket` is no longer `seen`, at most for `rest` nanoseconds.
void await_ticket(const std::atomic<uint64_t>& ticket, uint64_t seen, int64_t rest) {
    const int64_t end = nanoseconds() + rest;
    do {
        for (int spin = 0; spin < 64; ++spin) {
            if (ticket.load(std::memory_order_acquire) != seen) return;
            relax();
        }
    } while (nanoseconds() < end);
}

}  // namespace

Piece piece_of(uint32_t turn, uint32_t units, uint32_t threads) {
    const uint32_t large = units * 5 / (8 * threads), small = units / (8 * threads);
    const uint32_t first = large * threads;              // taken by the first turns
    const uint32_t second = first + small * 2 * threads;  // and by the turns after them
    uint32_t begin, size;
    if (turn < threads && large > 0) {
        begin = turn * large, size = large;
    } else {
        uint32_t later = large > 0 ? turn - threads : turn;
        if (small > 0 && later < 2 * threads) {
            begin = first + later * small, size = small;
        } else {
            if (small > 0) later -= 2 * threads;
            begin = second + later, size = 1;
        }
    }
    uint32_t end = begin + size < units ? begin + size : units;
    return {begin, end};
}

int64_t wait_for(const std::atomic<uint32_t>& count, uint32_t value) {
    for (int spin = 0; spin < kSpins; ++spin) {
        if (count.load(std::memory_order_acquire) == value) return 0;
        relax();
    }
    const int64_t since = nanoseconds();
    while (count.load(std::memory_order_acquire) != value) std::this_thread::yield();
    return nanoseconds() - since;
}

// A slot more than threads that may linger in old runs, and one for the next run.
Pool::Pool(int threads) : threads_(threads) {
    for (int i = 0; i < threads + 1; ++i) runs_.push_back(std::make_unique<Run>());
}

Pool::~Pool() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        stop_ = true;
        ticket_.fetch_add(1);
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
}

int Pool::free_slot() {
    for (;;) {
        for (int i = 0; i < slots(); ++i)
            if (i != current_ || workers_.empty())
                if (runs_[i]->users.load(std::memory_order_acquire) == 0) return i;
        std::this_thread::yield();
    }
}

void Pool::run(int slot, int threads, int phases, Body body, void* plan) {
    Run& run = *runs_[slot];
    if (run.size < phases) {
        run.phases.reset(new Phase[phases]);
        run.size = phases;
    } else {
        for (int i = 0; i < phases; ++i) {
            run.phases[i].next.store(0, std::memory_order_relaxed);
            run.phases[i].done.store(0, std::memory_order_relaxed);
        }
    }
    if (threads > 1 && alone_ > 0) --alone_, threads = 1;
    run.threads = threads;
    run.body = body;
    run.plan = plan;
    if (threads > 1) {
        while (static_cast<int>(workers_.size()) < threads - 1) {
            int index = static_cast<int>(workers_.size()) + 1;
            workers_.emplace_back([this, index] { work(index); });
        }
        bool asleep;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            current_ = slot;
            ticket_.fetch_add(1, std::memory_order_release);
            asleep = sleeping_ > 0;
        }
        if (asleep) wake_.notify_all();
    }
    const int64_t since = nanoseconds();
    Walk walk(run.phases.get(), threads, 0);
    body(plan, walk);
    if (threads > 1) judge(walk.stalled(), nanoseconds() - since);
}

void Pool::judge(int64_t stalled, int64_t total) {
    if (stalled * 2 < total) {
        penalty_ /= 2;
        return;
    }
    penalty_ = penalty_ < 4 ? 4 : penalty_ * 2 < kMostAlone ? penalty_ * 2 : kMostAlone;
    alone_ = penalty_;
}

void Pool::work(int index) {
    uint64_t seen = 0;
    int64_t rest = kShortRest, since = nanoseconds();
    for (;;) {
        await_ticket(ticket_, seen, rest);
        Run* run = nullptr;
        {
            std::unique_lock<std::mutex> lock(mutex_);
            ++sleeping_;
            wake_.wait(lock, [&] { return ticket_.load(std::memory_order_relaxed) != seen; });
            --sleeping_;
            if (stop_) return;
            rest = nanoseconds() - since < kLongRest ? kLongRest : kShortRest;
            seen = ticket_.load(std::memory_order_relaxed);
            run = runs_[current_].get();
            if (index >= run->threads) continue;
            run->users.fetch_add(1, std::memory_order_acq_rel);
        }
        Walk walk(run->phases.get(), run->threads, index);
        run->body(run->plan, walk);
        run->users.fetch_sub(1, std::memory_order_release);
        since = nanoseconds();
    }
}

}  // namespace lm

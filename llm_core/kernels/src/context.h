// What a context owns, and the plan of one pass over the model.
#ifndef LM_CONTEXT_H
#define LM_CONTEXT_H

#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api.h"
#include "pool.h"
#include "target.h"

namespace lm {

constexpr int kTargets = 7;       // q k v o gate up down
constexpr int kPrivate = 2;       // up to so many rows each thread prepares its own activations
constexpr int kLowPiece = 192;    // columns of a piece of a low-rank product: whole groups
constexpr int kMaxRank = 256;
constexpr int kSplitRows = 4;      // up to so many rows the splits of keys are units of their own
constexpr int kPhasesPerLayer = 24;

void fail(const std::string& message);  // sets lm_error()
float half_to_float(uint16_t bits);
void read_row(const lm_matrix& matrix, int row, float* out);

// 64-byte aligned memory that grows and never shrinks; its old content is lost.
class Buffer {
public:
    template <class T>
    T* need(size_t count) {
        size_t bytes = (count * sizeof(T) + 63) / 64 * 64;
        if (bytes > size_) {
            memory_.reset(static_cast<uint8_t*>(std::aligned_alloc(64, bytes)));
            size_ = memory_ ? bytes : 0;
            if (!memory_) throw std::bad_alloc();
        }
        return reinterpret_cast<T*>(memory_.get());
    }
    template <class T>
    T* as() const {
        return reinterpret_cast<T*>(memory_.get());
    }

private:
    struct Free {
        void operator()(uint8_t* p) const { std::free(p); }
    };
    std::unique_ptr<uint8_t, Free> memory_;
    size_t size_ = 0;
};

// Adjacent rows that see the same columns of one cache, but for the end.
struct Segment {
    int first, count;  // rows
    int slot, prefix, start;
    std::vector<int32_t> tiles;   // of the cache, prefix first, then the own columns
    std::vector<uint16_t> valid;  // lanes of each that belong to it
    int list_position(int column) const {  // of a column >= start
        return column - start / kKeys * kKeys + (prefix + kKeys - 1) / kKeys * kKeys;
    }
};

// Query rows that are handled together: `count` rows of a segment, for one key/value head a time.
struct Query {
    int segment, first, count;
    int splits;  // of the keys the last row sees
    bool read;   // a row of it is read
};

// Memory of one thread.
struct Local {
    Buffer row, tile, rest, u, gate, up, q, state;
};

// All that a pass needs; not changed while threads walk through it.
struct Plan {
    int count = 0, threads = 1;
    std::vector<int32_t> tokens, positions, slots, columns, reads;
    std::vector<lm_cache> caches;
    std::vector<Segment> segments;
    std::vector<Query> queries;
    int most_splits = 1;
    bool split = false;  // the splits of a query are units of their own
    float* logits = nullptr;
    size_t stride = 0;
    const lm_adapter* adapter = nullptr;
    lm_adapter adapter_copy{};
    lm_timings* timings = nullptr;
    lm_context* context = nullptr;
};

bool make_plan(lm_context& context, const lm_rows& rows, const lm_cache* caches, int cache_count,
               const int32_t* reads, int read_count, Plan& plan);

// Scratch memory shared by the threads of a pass.
struct Scratch {
    Buffer x, kept, qkv, q, attended, tile, wide, partial, u, state;
};

}  // namespace lm

struct lm_context {
    lm_model model;
    std::vector<lm_layer> layers;
    const lm::Target* target;
    std::unique_ptr<lm::Pool> pool;
    std::vector<lm::Plan> plans;   // one for each slot of the pool
    std::vector<lm::Local> locals;  // one for each thread
    lm::Scratch scratch;
    std::mutex mutex;

    int group() const { return model.shape.heads / model.shape.kv_heads; }
    size_t head_bytes(int columns) const {  // keys or values of one layer and head
        return static_cast<size_t>(columns) * model.shape.head_dim * 2;
    }
    uint16_t* keys(const lm_cache& cache, int layer, int head) const {
        size_t at = static_cast<size_t>(layer) * model.shape.kv_heads + head;
        return reinterpret_cast<uint16_t*>(cache.data + at * 2 * head_bytes(cache.capacity));
    }
    uint16_t* values(const lm_cache& cache, int layer, int head) const {
        return keys(cache, layer, head) + head_bytes(cache.capacity) / 2;
    }
};

#endif

// Attention of a pass: rotation, stored keys, and splits of keys in a fixed order.
#include <cstring>

#include "pass.h"

namespace lm {

namespace {

constexpr float kLog2E = 1.44269504f;  // softmax is taken with powers of two

// First key, counted in the segment's list of tiles, that a window leaves visible.
int first_seen(const Segment& segment, int column, int window) {
    if (window <= 0) return 0;
    const int low = segment.prefix + column - segment.start - window + 1;
    if (low <= 0) return 0;
    return low < segment.prefix ? low
                                : segment.list_position(segment.start + low - segment.prefix);
}

// Alternates between the ends, so that pieces of units cost about the same.
int balanced(int unit, int units) { return unit % 2 ? unit / 2 : units - 1 - unit / 2; }

}  // namespace

// Norm, rotation and scale of the query heads of one key/value head; out may not be q.
void Pass::turn_queries(int index, int t, float* q, uint16_t* out) {
    const int dim = shape_.head_dim, half = dim / 2, group = context_.group();
    const lm_layer& layer = context_.layers[index];
    const size_t at = static_cast<size_t>(plan_.positions[t]) * half;
    for (int i = 0; i < group; ++i, q += dim) {
        if (layer.q_norm) target_.norm(q, layer.q_norm, shape_.norm_eps, dim, q);
        target_.rotate(q, context_.model.cosine + at, context_.model.sine + at, half);
    }
    target_.narrow(q - group * dim, shape_.attention_scale * kLog2E, group * dim, out);
}

void Pass::store_key(int index, int t, int head, const float* k, const float* v, float* row) {
    const int dim = shape_.head_dim, half = dim / 2;
    const lm_layer& layer = context_.layers[index];
    const size_t at = static_cast<size_t>(plan_.positions[t]) * half;
    std::memcpy(row, k, sizeof(float) * dim);
    if (layer.k_norm) target_.norm(row, layer.k_norm, shape_.norm_eps, dim, row);
    target_.rotate(row, context_.model.cosine + at, context_.model.sine + at, half);
    const lm_cache& cache = plan_.caches[plan_.slots[t]];
    target_.store(row, v, dim, context_.keys(cache, index, head),
                  context_.values(cache, index, head), plan_.columns[t]);
}

void Pass::clear_state(float* state, int rows) const {
    const int stride = state_floats(shape_.head_dim);
    std::memset(state, 0, sizeof(float) * stride * rows);
    for (int r = 0; r < rows; ++r) state[r * stride + shape_.head_dim] = kNone;
}

void Pass::attend_splits(int index, const Query& query, int head, int first, int last,
                         const uint16_t* q, float* state) {
    const Segment& segment = plan_.segments[query.segment];
    const int group = context_.group(), window = context_.layers[index].window;
    const int listed = static_cast<int>(segment.tiles.size());
    int32_t from[kMaxQueries], to[kMaxQueries], lowest[kMaxQueries], end[kMaxQueries];
    for (int r = 0; r < query.count * group; ++r) {
        const int column = plan_.columns[query.first + r / group];
        lowest[r] = first_seen(segment, column, window);
        end[r] = segment.list_position(column) + 1;
    }
    for (int split = first; split < last; ++split) {
        const int tile = split * kSplit, left = listed - tile;
        for (int r = 0; r < query.count * group; ++r) {
            from[r] = lowest[r] - tile * kKeys;
            to[r] = end[r] - tile * kKeys;
        }
        Attend work{};
        work.dim = shape_.head_dim;
        work.rows = query.count * group;
        work.count = left < kSplit ? left : kSplit;
        work.q = q;
        work.keys = context_.keys(plan_.caches[segment.slot], index, head);
        work.values = context_.values(plan_.caches[segment.slot], index, head);
        work.tiles = segment.tiles.data() + tile;
        work.valid = segment.valid.data() + tile;
        work.from = from;
        work.to = to;
        work.state = state;
        target_.attend(work);
    }
}

void Pass::finish(const Query& query, int head, const float* state) {
    const int dim = shape_.head_dim, group = context_.group();
    for (int r = 0; r < query.count * group; ++r) {
        const size_t row = query.first + r / group;
        float* out = scratch_.attended.as<float>() + row * shape_.heads * dim;
        target_.finish(state + r * state_floats(dim), dim, out + (head * group + r % group) * dim);
    }
}

// A query tile and head, all splits in order.
void Pass::attend_whole(int index, int unit) {
    const int queries = static_cast<int>(plan_.queries.size());
    const Query& query = plan_.queries[balanced(unit % queries, queries)];
    if (last_ && !query.read) return;
    const int head = unit / queries, group = context_.group();
    const size_t at = static_cast<size_t>(head) * count_ + query.first;
    float* state = local_.state.as<float>();
    clear_state(state, query.count * group);
    attend_splits(index, query, head, 0, query.splits,
                  scratch_.q.as<uint16_t>() + at * group * shape_.head_dim, state);
    finish(query, head, state);
}

// One split of a query tile and head: its state is kept for join_splits().
void Pass::attend_split(int index, int unit) {
    const int rows = kSplitRows * context_.group();
    const int split = unit % plan_.most_splits, rest = unit / plan_.most_splits;
    const Query& query = plan_.queries[rest / shape_.kv_heads];
    if (split >= query.splits || (last_ && !query.read)) return;
    const int head = rest % shape_.kv_heads, group = context_.group();
    const size_t at = static_cast<size_t>(head) * count_ + query.first;
    float* state = scratch_.state.as<float>() +
                   static_cast<size_t>(unit) * rows * state_floats(shape_.head_dim);
    clear_state(state, query.count * group);
    attend_splits(index, query, head, split, split + 1,
                  scratch_.q.as<uint16_t>() + at * group * shape_.head_dim, state);
}

// The only row of a pass: its query is rotated where it is used, its key where it is seen.
void Pass::attend_alone(int index, int unit) {
    const int dim = shape_.head_dim, group = context_.group();
    const Query& query = plan_.queries[0];
    const int split = unit % query.splits, head = unit / query.splits;
    float* row = local_.row.as<float>();
    const float* qkv = scratch_.qkv.as<float>();
    uint16_t* q = local_.q.as<uint16_t>();
    const float* k = qkv + (shape_.heads + head) * dim;
    if (split + 1 == query.splits)
        store_key(index, 0, head, k, k + shape_.kv_heads * dim, row);
    std::memcpy(row, qkv + head * group * dim, sizeof(float) * group * dim);
    turn_queries(index, 0, row, q);
    float* state = plan_.split ? scratch_.state.as<float>() + static_cast<size_t>(unit) *
                                     kSplitRows * group * state_floats(dim)
                               : local_.state.as<float>();
    clear_state(state, group);
    attend_splits(index, query, head, split, split + 1, q, state);
    if (!plan_.split) finish(query, head, state);
}

void Pass::join_splits(int unit) {
    const int group = context_.group(), stride = state_floats(shape_.head_dim);
    const Query& query = plan_.queries[unit / shape_.kv_heads];
    if (last_ && !query.read) return;
    const size_t step = static_cast<size_t>(kSplitRows) * group * stride;
    float* state =
        scratch_.state.as<float>() + static_cast<size_t>(unit) * plan_.most_splits * step;
    for (int split = 1; split < query.splits; ++split)
        for (int r = 0; r < query.count * group; ++r)
            target_.merge(state + r * stride, state + split * step + r * stride, shape_.head_dim);
    finish(query, unit % shape_.kv_heads, state);
}

void Pass::attend(int index) {
    const int heads = static_cast<int>(plan_.queries.size()) * shape_.kv_heads;
    const bool alone = count_ == 1;
    const int units = plan_.split ? heads * plan_.most_splits : heads;
    walk_.share(units, [&](int begin, int end) {
        for (int unit = begin; unit < end; ++unit) {
            if (alone)
                attend_alone(index, unit);
            else if (plan_.split)
                attend_split(index, unit);
            else
                attend_whole(index, unit);
        }
    });
    if (plan_.split)
        walk_.share(heads, [&](int begin, int end) {
            for (int unit = begin; unit < end; ++unit) join_splits(unit);
        });
}

}  // namespace lm

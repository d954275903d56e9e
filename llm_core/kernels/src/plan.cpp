// From rows to segments and query tiles.
#include <string>

#include "context.h"

namespace lm {

namespace {

bool refuse(const char* what, int row, int value) {
    fail("row " + std::to_string(row) + ": " + what + " " + std::to_string(value) +
         " is out of range");
    return false;
}

bool check_rows(const lm_shape& shape, const lm_rows& rows, const lm_cache* caches,
                int cache_count) {
    for (int t = 0; t < rows.count; ++t) {
        if (rows.tokens[t] < 0 || rows.tokens[t] >= shape.vocabulary)
            return refuse("token", t, rows.tokens[t]);
        if (rows.positions[t] < 0 || rows.positions[t] >= shape.positions)
            return refuse("position", t, rows.positions[t]);
        if (rows.slots[t] < 0 || rows.slots[t] >= cache_count)
            return refuse("slot", t, rows.slots[t]);
        const int column = rows.columns[t];
        if (column < 0 || column >= caches[rows.slots[t]].capacity)
            return refuse("column", t, column);
        if (rows.starts[t] < 0 || rows.starts[t] > column)
            return refuse("start", t, rows.starts[t]);
        if (rows.prefixes[t] < 0 || rows.prefixes[t] > column)
            return refuse("prefix", t, rows.prefixes[t]);
    }
    return true;
}

// Lists the tiles of columns [begin, end).
void list_tiles(Segment& segment, int begin, int end) {
    for (int tile = begin / kKeys; tile * kKeys < end; ++tile) {
        unsigned lanes = 0xffffu;
        if (tile * kKeys < begin) lanes &= 0xffffu << (begin - tile * kKeys);
        if ((tile + 1) * kKeys > end) lanes &= 0xffffu >> ((tile + 1) * kKeys - end);
        segment.tiles.push_back(tile);
        segment.valid.push_back(static_cast<uint16_t>(lanes));
    }
}

void add_queries(const lm_context& context, const lm_rows& rows, int index, Plan& plan) {
    const Segment& segment = plan.segments[index];
    int most = kMaxQueries / context.group();
    if (most < 1) most = 1;
    for (int first = segment.first; first < segment.first + segment.count; first += most) {
        int left = segment.first + segment.count - first;
        Query query{index, first, left < most ? left : most, 1, false};
        int last = 0;
        for (int t = first; t < first + query.count; ++t) {
            int position = segment.list_position(rows.columns[t]);
            if (position > last) last = position;
        }
        query.splits = last / (kSplit * kKeys) + 1;
        for (int32_t read : plan.reads)
            query.read = query.read || (read >= first && read < first + query.count);
        if (query.splits > plan.most_splits) plan.most_splits = query.splits;
        plan.queries.push_back(query);
    }
}

}  // namespace

bool make_plan(lm_context& context, const lm_rows& rows, const lm_cache* caches, int cache_count,
               const int32_t* reads, int read_count, Plan& plan) {
    if (!check_rows(context.model.shape, rows, caches, cache_count)) return false;
    for (int i = 0; i < read_count; ++i)
        if (reads[i] < 0 || reads[i] >= rows.count) return refuse("read", i, reads[i]);
    const int count = rows.count;
    plan.count = count;
    plan.tokens.assign(rows.tokens, rows.tokens + count);
    plan.positions.assign(rows.positions, rows.positions + count);
    plan.slots.assign(rows.slots, rows.slots + count);
    plan.columns.assign(rows.columns, rows.columns + count);
    plan.reads.assign(reads, reads + read_count);
    plan.caches.assign(caches, caches + cache_count);
    plan.segments.clear();
    plan.queries.clear();
    plan.most_splits = 1;
    for (int first = 0; first < count;) {
        Segment segment{first, 0,  rows.slots[first], rows.prefixes[first], rows.starts[first],
                        {},    {}};
        int end = 0;
        int t = first;
        for (; t < count && rows.slots[t] == segment.slot && rows.prefixes[t] == segment.prefix &&
               rows.starts[t] == segment.start;
             ++t)
            if (rows.columns[t] >= end) end = rows.columns[t] + 1;
        segment.count = t - first;
        if (segment.start <= segment.prefix) segment.start = segment.prefix = 0;
        if (segment.prefix > 0) list_tiles(segment, 0, segment.prefix);
        list_tiles(segment, segment.start, end);
        plan.segments.push_back(std::move(segment));
        add_queries(context, rows, static_cast<int>(plan.segments.size()) - 1, plan);
        first = t;
    }
    plan.split = count <= kSplitRows && plan.most_splits > 1;
    return true;
}

}  // namespace lm

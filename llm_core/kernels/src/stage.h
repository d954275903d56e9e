// A stage: rows are quantised, low-rank products prepared, then units of a matrix shared out.
#ifndef LM_STAGE_H
#define LM_STAGE_H

#include <type_traits>

#include "pass.h"

namespace lm {

template <class Source>
void Pass::quantise_rows(int begin, int end, int columns, uint8_t* tiles, uint16_t* narrow,
                         Source&& source) {
    const int groups = columns / kGroup;
    for (int t = begin; t < end; ++t) {
        const float* row = source(t, local_.row.as<float>());
        const int i = t / tile_;
        uint8_t* tile = tiles + static_cast<size_t>(i) * tile_ * groups * kRecord;
        target_.quantise(row, groups, tile, in_tile(i), t - i * tile_);
        if (narrow)
            target_.narrow(row, 1.0f, columns, narrow + static_cast<size_t>(t) * columns);
    }
}

// u of the stage's targets in pieces of columns; each (target, piece, row) is a unit.
template <class Prepare>
void Pass::shrink(const lm_pair* pairs, int first, int last, int columns, const uint16_t* narrow,
                  Prepare&& prepare) {
    const int pieces = (columns + kLowPiece - 1) / kLowPiece;
    float* partial = scratch_.partial.as<float>();
    walk_.share((last - first) * pieces * count_, [&](int begin, int end) {
        prepare();
        for (int unit = begin; unit < end; ++unit) {
            const int t = unit % count_, piece = unit / count_ % pieces;
            const uint16_t* a = pairs[first + unit / count_ / pieces].a;
            float* u = partial + static_cast<size_t>(unit) * rank_;
            if (a == nullptr) {
                for (int r = 0; r < rank_; ++r) u[r] = 0.0f;
                continue;
            }
            const int from = piece * kLowPiece;
            const int width = columns - from < kLowPiece ? columns - from : kLowPiece;
            target_.shrink(a + static_cast<size_t>(from) * rank_, width, rank_,
                           narrow + static_cast<size_t>(t) * columns + from, u);
        }
    });
}

// source(t, buffer) gives row t of the stage's input; null: scratch.wide is quantised already.
template <class Source, class Units>
void Pass::stage(int index, int first, int last, int columns, Source&& source, int units,
                 Units&& work) {
    constexpr bool kQuantised = std::is_same_v<std::decay_t<Source>, std::nullptr_t>;
    const bool shared = count_ > kPrivate;
    const lm_pair* low_pairs = pairs(index, first, last);
    uint8_t* tiles = (kQuantised ? scratch_.wide : shared ? scratch_.tile : local_.tile)
                         .template as<uint8_t>();
    uint16_t* narrow = nullptr;
    if (low_pairs)
        narrow = (kQuantised ? scratch_.wide_narrow : shared ? scratch_.narrow : local_.narrow)
                     .template as<uint16_t>();
    bool ready = kQuantised;
    auto prepare = [&] {
        if constexpr (!kQuantised)
            if (!ready) quantise_rows(0, count_, columns, tiles, narrow, source);
        ready = true;
    };
    if constexpr (!kQuantised) {
        if (shared) {
            walk_.share(count_, [&](int begin, int end) {
                quantise_rows(begin, end, columns, tiles, narrow, source);
            });
            ready = true;
        }
    }
    LowRank low;
    bool added = true;
    uint16_t* u = nullptr;
    const int pieces = (columns + kLowPiece - 1) / kLowPiece, sums = (last - first) * count_;
    if (low_pairs) {
        shrink(low_pairs, first, last, columns, narrow, prepare);
        u = (shared ? scratch_.u : local_.u).template as<uint16_t>();
        low = {low_pairs, u, first};
        added = shared;
        if (shared)
            walk_.share(sums, [&](int begin, int end) { add_pieces(begin, end, pieces, u); });
    }
    walk_.share(units, [&](int begin, int end) {
        prepare();
        if (!added) add_pieces(0, sums, pieces, u);
        added = true;
        work(begin, end, tiles, low);
    });
}

}  // namespace lm

#endif

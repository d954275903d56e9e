// A stage: rows are quantised, low-rank products prepared, then units of a matrix shared out.
#ifndef LM_STAGE_H
#define LM_STAGE_H

#include <type_traits>

#include "pass.h"

namespace lm {

template <class Source>
void Pass::quantise_rows(int begin, int end, int columns, uint8_t* tiles, Source&& source) {
    const int groups = columns / kGroup;
    for (int t = begin; t < end; ++t) {
        const float* row = source(t, local_.row.as<float>());
        const int i = t / tile_;
        uint8_t* tile = tiles + static_cast<size_t>(i) * tile_ * groups * kRecord;
        target_.quantise(row, groups, tile, in_tile(i), t - i * tile_);
    }
}

// Hands out the pieces of u: each (target, piece, tile of rows) is a unit. They come first in a
// stage and are needed last, so that threads hardly ever wait for them.
template <class Prepare>
void Pass::shrink(const LowRank& low, int columns, const uint8_t* tiles, Prepare&& prepare) {
    const int units = (low.last - low.first) * low.pieces * this->tiles();
    settled_ = false;
    shrunk_ = walk_.hand_out(units, [&](int begin, int end) {
        prepare();
        for (int unit = begin; unit < end; ++unit) shrink_unit(low, unit, columns, tiles);
    });
}

// source(t, buffer) gives row t of the stage's input; null: scratch.wide is quantised already.
template <class Source, class Units>
void Pass::stage(int index, int first, int last, int columns, Source&& source, int units,
                 Units&& work) {
    constexpr bool kQuantised = std::is_same_v<std::decay_t<Source>, std::nullptr_t>;
    const bool shared = count_ > kPrivate;
    uint8_t* tiles = (kQuantised ? scratch_.wide : shared ? scratch_.tile : local_.tile)
                         .template as<uint8_t>();
    bool ready = kQuantised;
    auto prepare = [&] {
        if constexpr (!kQuantised)
            if (!ready) quantise_rows(0, count_, columns, tiles, source);
        ready = true;
    };
    if constexpr (!kQuantised) {
        if (shared) {
            walk_.share(count_, [&](int begin, int end) {
                quantise_rows(begin, end, columns, tiles, source);
            });
            ready = true;
        }
    }
    LowRank low;
    low.pairs = pairs(index, first, last);
    if (low.pairs) {
        low.u = (shared ? scratch_.u : local_.u).template as<uint8_t>();
        low.first = first, low.last = last, low.pieces = (columns + kLowPiece - 1) / kLowPiece;
        shrink(low, columns, tiles, prepare);
        if (shared) {
            walk_.wait(shrunk_);
            walk_.share((last - first) * count_,
                        [&](int begin, int end) { add_pieces(begin, end, low); });
            settled_ = true;
        }
    }
    walk_.share(units, [&](int begin, int end) {
        prepare();
        work(begin, end, tiles, low);
    });
}

}  // namespace lm

#endif

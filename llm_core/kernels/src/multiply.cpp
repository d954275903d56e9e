// Matrix products of a pass, with the low-rank side path, and attention units.
#include "pass.h"

namespace lm {

const lm_pair* Pass::pairs(int index, int first, int last) const {
    if (plan_.adapter == nullptr || index < 0) return nullptr;
    const lm_pair* pairs = plan_.adapter->pairs + static_cast<size_t>(index) * kTargets;
    for (int target = first; target < last; ++target)
        if (pairs[target].a) return pairs;
    return nullptr;
}

// Adds the pieces of u in order, scales and narrows it: units are (target, row).
void Pass::add_pieces(int begin, int end, int pieces, uint16_t* u) {
    float sum[kMaxRank];
    for (int unit = begin; unit < end; ++unit) {
        const int target = unit / count_, t = unit % count_;
        const float* partial = scratch_.partial.as<float>() +
                               (static_cast<size_t>(target) * pieces * count_ + t) * rank_;
        for (int r = 0; r < rank_; ++r) sum[r] = partial[r];
        for (int piece = 1; piece < pieces; ++piece) {
            partial += static_cast<size_t>(count_) * rank_;
            for (int r = 0; r < rank_; ++r) sum[r] += partial[r];
        }
        target_.narrow(sum, plan_.adapter->scale, rank_, u + static_cast<size_t>(unit) * rank_);
    }
}

void Pass::multiply_tile(const lm_matrix& w, int target, int first, int last, const uint8_t* tiles,
                         int tile, const LowRank& low, const float* bias, bool add, float* y,
                         size_t stride) {
    const int n = in_tile(tile), groups = w.columns / kGroup;
    const uint8_t* activations = tiles + static_cast<size_t>(tile) * tile_ * groups * kRecord;
    const bool low_rank = low.pairs && low.pairs[target].b;
    if (low_rank && n <= kPrivate) {  // B is on its way while W is multiplied
        const uint16_t* b = low.pairs[target].b;
        for (int i = first * rank_ * kBlock; i < last * rank_ * kBlock; i += 32)
            __builtin_prefetch(b + i);
    }
    target_.matmul(w, first, last, activations, n, bias ? bias + first * kBlock : nullptr, add, y,
                   stride);
    if (!low_rank) return;
    for (int t = 0; t < n; ++t) {
        const size_t row = static_cast<size_t>(target - low.first) * count_ + tile * tile_ + t;
        target_.expand(low.pairs[target].b, rank_, first, last, low.u + row * rank_,
                       y + t * stride);
    }
}

// y[t][row] of blocks [first, last), for all rows in work; y begins with block 0.
void Pass::multiply(const lm_matrix& w, int target, int first, int last, const uint8_t* tiles,
                    const LowRank& low, const float* bias, bool add, float* y, size_t stride) {
    const int count = this->tiles(), step = count > 1 ? 2 : last - first;
    for (int block = first; block < last; block += step) {
        const int end = block + step < last ? block + step : last;
        for (int i = 0; i < count; ++i)
            multiply_tile(w, target, block, end, tiles, i, low, bias, add,
                          y + static_cast<size_t>(i) * tile_ * stride + block * kBlock, stride);
    }
}

}  // namespace lm

// Matrix products of a pass, with the low-rank side path, and attention units.
#include <cmath>
#include <cstring>

#include "pass.h"

namespace lm {

namespace {

constexpr float kMostLow = 32767.0f;

}  // namespace

const lm_pair* Pass::pairs(int index, int first, int last) const {
    if (plan_.adapter == nullptr || index < 0) return nullptr;
    const lm_pair* pairs = plan_.adapter->pairs + static_cast<size_t>(index) * kTargets;
    for (int target = first; target < last; ++target)
        if (pairs[target].a) return pairs;
    return nullptr;
}

// One piece of u for one target and one tile of rows: (target, piece, tile) in this order.
void Pass::shrink_unit(const LowRank& low, int unit, int columns, const uint8_t* tiles) {
    const int tile = unit % this->tiles(), piece = unit / this->tiles();  // counted over targets
    const uint8_t* a = low.pairs[low.first + piece / low.pieces].a;
    if (a == nullptr) return;
    const int from = piece % low.pieces * kLowPiece, n = in_tile(tile);
    const int width = columns - from < kLowPiece ? columns - from : kLowPiece;
    a += block_bytes(LM_Q8_0, kLowPiece) * (rank_ / kBlock) * (from / kLowPiece);
    const lm_matrix matrix{LM_Q8_0, rank_, width, 0, a};
    const size_t first = static_cast<size_t>(tile) * tile_ * (columns / kGroup);  // record
    float* u = scratch_.partial.as<float>() +
               (static_cast<size_t>(piece) * count_ + tile * tile_) * rank_;
    target_.matmul(matrix, 0, rank_ / kBlock,
                   tiles + (first + static_cast<size_t>(from / kGroup) * n) * kRecord, n, nullptr,
                   false, u, rank_);
}

// Adds the pieces of u in order and rounds the sums to 16 bits: units are (target, row).
void Pass::add_pieces(int begin, int end, const LowRank& low) {
    float sum[kMaxRank];
    for (int unit = begin; unit < end; ++unit) {
        const int target = unit / count_, t = unit % count_;
        const lm_pair& pair = low.pairs[low.first + target];
        if (pair.a == nullptr) continue;
        const float* partial = scratch_.partial.as<float>() +
                               (static_cast<size_t>(target) * low.pieces * count_ + t) * rank_;
        for (int r = 0; r < rank_; ++r) sum[r] = partial[r];
        for (int piece = 1; piece < low.pieces; ++piece) {
            partial += static_cast<size_t>(count_) * rank_;
            for (int r = 0; r < rank_; ++r) sum[r] += partial[r];
        }
        float most = 0.0f;
        for (int r = 0; r < rank_; ++r) {
            const float size = std::fabs(sum[r]);
            most = size > most ? size : most;
        }
        const float inverse = most > 0.0f ? kMostLow / most : 0.0f;
        uint8_t* record = low.u + unit * low_bytes(rank_);
        const float step = most / kMostLow * pair.scale;
        std::memcpy(record, &step, sizeof step);
        int16_t* out = reinterpret_cast<int16_t*>(record + sizeof step);
        for (int r = 0; r < rank_; ++r)
            out[r] = static_cast<int16_t>(std::lrintf(sum[r] * inverse));
    }
}

// Makes u complete for this thread, where that is still to be done.
void Pass::settle(const LowRank& low) {
    if (settled_) return;
    walk_.wait(shrunk_);
    add_pieces(0, (low.last - low.first) * count_, low);
    settled_ = true;
}

void Pass::multiply_tile(const lm_matrix& w, int target, int first, int last, const uint8_t* tiles,
                         int tile, const LowRank& low, const float* bias, bool add, float* y,
                         size_t stride) {
    const int n = in_tile(tile), groups = w.columns / kGroup;
    const uint8_t* activations = tiles + static_cast<size_t>(tile) * tile_ * groups * kRecord;
    const lm_pair* pair = low.pairs && low.pairs[target].b ? low.pairs + target : nullptr;
    if (pair && n <= kPrivate) {  // B is on its way while W is multiplied
        for (int i = first * rank_ * kBlock; i < last * rank_ * kBlock; i += 64)
            __builtin_prefetch(pair->b + i);
    }
    target_.matmul(w, first, last, activations, n, bias ? bias + first * kBlock : nullptr, add, y,
                   stride);
    if (!pair) return;
    settle(low);
    for (int t = 0; t < n; ++t) {
        const size_t row = static_cast<size_t>(target - low.first) * count_ + tile * tile_ + t;
        const uint8_t* record = low.u + row * low_bytes(rank_);
        float unit;
        std::memcpy(&unit, record, sizeof unit);
        target_.expand(*pair, rank_, first, last,
                       reinterpret_cast<const int16_t*>(record + sizeof unit), unit,
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

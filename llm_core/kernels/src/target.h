// A target: the inner loops for one kind of processor, as a table of functions.
//
// Rules. Each output value is summed in an order that depends on nothing but the target: not on
// the number of tokens, rows or tiles in a call. Files of targets define their functions in an
// anonymous namespace and use no templates of the standard library: an inline function compiled
// with wide instructions must never be shared with files that run everywhere.
#ifndef LM_TARGET_H
#define LM_TARGET_H

#include <stddef.h>
#include <stdint.h>

#include "api.h"

namespace lm {

constexpr int kGroup = 32;      // columns that share a scale
constexpr int kBlock = 16;      // rows of a packed block
constexpr int kKeys = 16;       // columns of a key tile
constexpr int kSplit = 8;       // key tiles of a split: attention is summed split by split
constexpr int kMaxTile = 16;    // most tokens of an activation tile
constexpr int kMaxQueries = 48; // most query rows of one attend() call
constexpr int kRecord = 44;     // bytes that one token takes in a group's record

// Activations of n <= tile tokens, quantised. For each group g of 32 columns one record of n * 44
// bytes at tile + g * n * 44:
//   int8  q[n][32]     x = scale * q, |q| <= 127, rounded to nearest
//   float scale[n]     max |x| / 127
//   float total[n]     scale * (sum of q)
//   int32 sum[n]       sum of q
static inline size_t tile_bytes(int columns, int n) {
    return static_cast<size_t>(columns / kGroup) * n * kRecord;
}

// Where the scales and quants of a group lie in a packed block (see lm_matrix).
static constexpr int unit_groups(int kind) { return kind == LM_Q4_1 ? 1 : 2; }
static constexpr int quant_bytes(int kind) { return kind == LM_Q8_0 ? 512 : 256; }
static constexpr int unit_bytes(int kind) { return 64 + unit_groups(kind) * quant_bytes(kind); }
static constexpr size_t scales_at(int kind, int group) {
    return static_cast<size_t>(group / unit_groups(kind)) * unit_bytes(kind) +
           group % unit_groups(kind) * 32;
}
static constexpr size_t quants_at(int kind, int group) {
    return static_cast<size_t>(group / unit_groups(kind)) * unit_bytes(kind) + 64 +
           group % unit_groups(kind) * quant_bytes(kind);
}
static constexpr size_t block_bytes(int kind, int columns) {
    return static_cast<size_t>((columns / kGroup + unit_groups(kind) - 1) / unit_groups(kind)) *
           unit_bytes(kind);
}

// The inner result u = A x of a low-rank product, one row: float unit, int16 low[rank], with
// u = unit * low and |low| <= 32767.
static inline size_t low_bytes(int rank) { return 4 + 2 * static_cast<size_t>(rank); }

// Attention state of one query row: float o[head_dim], then maximum, sum, and padding, so that
// o / sum is the output. A fresh state is o = 0, maximum = kNone, sum = 0.
constexpr float kNone = -1e30f;
static inline int state_floats(int head_dim) { return head_dim + 16; }

// One split of keys for the query rows of one key/value head.
struct Attend {
    int dim;              // head_dim
    int rows;             // query rows, <= kMaxQueries
    int count;            // key tiles, <= kSplit
    const uint16_t* q;    // bf16 (rows, dim), times attention scale and log2(e)
    const uint16_t* keys;    // bf16, tile 0 of this layer and head in the cache (see lm_cache)
    const uint16_t* values;  // the same of the values
    const int32_t* tiles;   // (count) which tile
    const uint16_t* valid;  // (count) bit c: column c of the tile may be seen at all
    const int32_t* from;  // (rows) a row sees keys [from, to) of the 16 * count, and valid
    const int32_t* to;    // (rows) may be <= from: nothing
    float* state;         // (rows, state_floats(dim)): the split is merged in
};

struct Target {
    const char* name;
    int tile;  // most tokens of an activation tile, even, <= kMaxTile

    // Quantises x (groups * 32) as token t of a tile of n tokens, its first record at `tile`.
    void (*quantise)(const float* x, int groups, uint8_t* tile, int n, int t);

    // y[t * stride + 16 * (b - first) + lane] = W x + bias, or with `add`
    // y + (W x + bias), for blocks b in [first, last) of w and the n tokens of the tile. bias is
    // that of block `first`, or null. Sum over groups in order: acc = fma(float(isum) * scale, d,
    // acc),
    // then, for Q4_1, acc = fma(m, total, acc); isum = sum q_w q_x - (8 or 128) sum for Q4_0, Q8_0.
    void (*matmul)(const lm_matrix& w, int first, int last, const uint8_t* tile, int n,
                   const float* bias, bool add, float* y, size_t stride);

    // y = x / sqrt(mean(x^2) + eps) * weight; n is a multiple of 16; y may be x.
    void (*norm)(const float* x, const float* weight, float eps, int n, float* y);
    // Rotates one head (2 * half) in place: pairs (i, i + half).
    void (*rotate)(float* x, const float* cosine, const float* sine, int half);
    // out = gate * sigmoid(gate) * up; n is a multiple of 16.
    void (*gated)(const float* gate, const float* up, int n, float* out);
    // out (n, bf16, nearest even) = x * factor; n is a multiple of 16.
    void (*narrow)(const float* x, float factor, int n, uint16_t* out);

    // Low-rank side path: y (16 * (last - first)) += B u for blocks [first, last), with b and its
    // steps as in lm_pair, and u = unit * low (rank): y = fma(float(sum of b low) * unit, step, y).
    void (*expand)(const lm_pair& pair, int rank, int first, int last, const int16_t* low,
                   float unit, float* y);

    // Writes a key and a value (dim floats each) as bf16 to `column` of the tiles at keys, values,
    // and nothing beside: other threads write the columns next to it.
    void (*store)(const float* k, const float* v, int dim, uint16_t* keys, uint16_t* values,
                  int column);
    // Scores, softmax weights (base 2) and weighted values of one split, merged into the state:
    // split maximum m, weights p = 2^(s - m) in float, sum l of p, o = sum bf16(p) v in key order;
    // then merge(state, (o, m, l)). Rows that see nothing stay as they are.
    void (*attend)(const Attend& work);
    // into = into + other, both states: M = max; o = o * 2^(m - M) + o' * 2^(m' - M).
    void (*merge)(float* into, const float* other, int dim);
    // out (dim) = o / sum.
    void (*finish)(const float* state, int dim, float* out);
};

const Target* target_plain();
const Target* target_avx2();
const Target* target_avx512();
const Target* target_avx512bf16();
const Target* target_neon();

}  // namespace lm

#endif

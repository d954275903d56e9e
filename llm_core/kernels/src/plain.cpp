// The target that runs everywhere: loops over 16 independent lanes, which any compiler turns into
// whatever vectors its baseline has. It is also what the other targets are checked against.
#include <math.h>
#include <string.h>

#include "target.h"

namespace lm {
namespace {

float bits_to_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint32_t float_to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// Multiplying by 2^112 moves a half's exponent, normal or not, to that of a float.
float from_half(uint16_t half) {
    float magnitude = bits_to_float(static_cast<uint32_t>(half & 0x7fff) << 13) * 0x1p112f;
    return bits_to_float(float_to_bits(magnitude) | static_cast<uint32_t>(half & 0x8000) << 16);
}

float from_bf16(uint16_t value) { return bits_to_float(static_cast<uint32_t>(value) << 16); }

uint16_t to_bf16(float value) {  // to nearest, ties to even
    uint32_t bits = float_to_bits(value);
    return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// 2^x for x <= 127 within 3e-7; 0 below the normal range.
// Source: Taylor terms of 2^f around 0 for |f| <= 0.5; the whole part becomes the exponent.
float exp2_of(float x) {
    if (!(x > -126.0f)) return 0.0f;
    float whole = floorf(x + 0.5f);
    float f = x - whole;
    float y = 1.5403530e-4f;
    y = y * f + 1.3333558e-3f;
    y = y * f + 9.6181291e-3f;
    y = y * f + 5.5504109e-2f;
    y = y * f + 2.4022651e-1f;
    y = y * f + 6.9314718e-1f;
    y = y * f + 1.0f;
    return y * bits_to_float(static_cast<uint32_t>(static_cast<int32_t>(whole) + 127) << 23);
}

void quantise(const float* x, int groups, uint8_t* tile, int n, int t) {
    for (int g = 0; g < groups; ++g) {
        const float* in = x + g * kGroup;
        uint8_t* record = tile + static_cast<size_t>(g) * n * kRecord;
        float largest = 0.0f;
        for (int i = 0; i < kGroup; ++i) {
            float size = fabsf(in[i]);
            largest = size > largest ? size : largest;
        }
        float scale = largest / 127.0f;
        float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
        int8_t q[kGroup];
        int32_t sum = 0;
        for (int i = 0; i < kGroup; ++i) {
            // Adding 1.5 * 2^23 leaves the nearest whole number, ties to even, in the low bits.
            int32_t step = static_cast<int32_t>(float_to_bits(in[i] * inverse + 0x1.8p23f)) -
                           static_cast<int32_t>(float_to_bits(0x1.8p23f));
            q[i] = static_cast<int8_t>(step);
            sum += q[i];
        }
        float total = scale * static_cast<float>(sum);
        memcpy(record + t * kGroup, q, sizeof q);
        memcpy(record + n * kGroup + t * 4, &scale, 4);
        memcpy(record + n * (kGroup + 4) + t * 4, &total, 4);
        memcpy(record + n * (kGroup + 8) + t * 4, &sum, 4);
    }
}

constexpr int kLanes = 64;  // 16 rows of 4 columns, as a packed vector holds them

// acc[lane] += (byte of lane & mask, after the shift) * q[lane % 4]: at most 8 such products of
// 15 * 127 are added up, which 16 bits hold.
void add_products(const uint8_t* bytes, int shift, const int8_t* q, int16_t* acc) {
    int16_t factor[8];
    for (int i = 0; i < 8; ++i) factor[i] = q[i % 4];
    for (int at = 0; at < kLanes; at += 8) {
        for (int i = 0; i < 8; ++i) {
            int16_t nibble = static_cast<int16_t>((bytes[at + i] >> shift) & 15);
            acc[at + i] = static_cast<int16_t>(acc[at + i] + nibble * factor[i]);
        }
    }
}

// isum[row] += times * (the row's four lanes).
void add_lanes(const int16_t* acc, int32_t times, int32_t* isum) {
    for (int row = 0; row < kBlock; ++row) {
        const int16_t* lane = acc + 4 * row;
        isum[row] += times * (lane[0] + lane[1] + lane[2] + lane[3]);
    }
}

// isum[row] = sum of q_w q_x over a group, q_w unsigned as stored.
void group_sums(int kind, const uint8_t* quants, const int8_t* q, int32_t* isum) {
    int16_t low[kLanes] = {}, high[kLanes] = {};
    memset(isum, 0, kBlock * sizeof *isum);
    if (kind == LM_Q8_0) {  // a byte is two nibbles, 1 and 16 times
        for (int j = 0; j < 8; ++j) {
            add_products(quants + j * kLanes, 0, q + 4 * j, low);
            add_products(quants + j * kLanes, 4, q + 4 * j, high);
        }
        add_lanes(high, 16, isum);
    } else {
        for (int j = 0; j < 4; ++j) {
            add_products(quants + j * kLanes, 0, q + 4 * j, low);
            add_products(quants + j * kLanes, 4, q + 16 + 4 * j, low);
        }
    }
    add_lanes(low, 1, isum);
}

void block_times_tile(const lm_matrix& w, const uint8_t* block, const uint8_t* tile, int n,
                      float acc[kMaxTile][kBlock]) {
    const int groups = w.columns / kGroup;
    const bool shifted = w.kind == LM_Q4_1;
    const int32_t zero = w.kind == LM_Q8_0 ? 128 : w.kind == LM_Q4_0 ? 8 : 0;
    for (int g = 0; g < groups; ++g) {
        uint16_t half[2 * kBlock] = {};
        const size_t size = (shifted ? 2 : 1) * kBlock * sizeof half[0];
        memcpy(half, block + scales_at(w.kind, g), size);
        float d[kBlock], m[kBlock];
        for (int row = 0; row < kBlock; ++row) d[row] = from_half(half[row]);
        for (int row = 0; row < kBlock; ++row) m[row] = from_half(half[kBlock + row]);
        const uint8_t* record = tile + static_cast<size_t>(g) * n * kRecord;
        for (int t = 0; t < n; ++t) {
            int8_t q[kGroup];
            float scale, total;
            int32_t sum, isum[kBlock];
            memcpy(q, record + t * kGroup, sizeof q);
            memcpy(&scale, record + n * kGroup + t * 4, 4);
            memcpy(&total, record + n * (kGroup + 4) + t * 4, 4);
            memcpy(&sum, record + n * (kGroup + 8) + t * 4, 4);
            group_sums(w.kind, block + quants_at(w.kind, g), q, isum);
            for (int row = 0; row < kBlock; ++row) {
                acc[t][row] += static_cast<float>(isum[row] - zero * sum) * scale * d[row];
            }
            if (!shifted) continue;
            for (int row = 0; row < kBlock; ++row) acc[t][row] += m[row] * total;
        }
    }
}

void matmul(const lm_matrix& w, int first, int last, const uint8_t* tile, int n,
            const float* bias, bool add, float* y, size_t stride) {
    const size_t bytes = block_bytes(w.kind, w.columns);
    for (int b = first; b < last; ++b) {
        float acc[kMaxTile][kBlock] = {};
        block_times_tile(w, w.data + b * bytes, tile, n, acc);
        const int at = kBlock * (b - first);
        for (int t = 0; t < n; ++t) {
            float* out = y + t * stride + at;
            for (int row = 0; row < kBlock; ++row) {
                float made = bias ? bias[at + row] + acc[t][row] : acc[t][row];
                out[row] = add ? out[row] + made : made;
            }
        }
    }
}

void norm(const float* x, const float* weight, float eps, int n, float* y) {
    float lanes[16] = {};
    for (int at = 0; at < n; at += 16) {
        for (int i = 0; i < 16; ++i) lanes[i] += x[at + i] * x[at + i];
    }
    float sum = 0.0f;
    for (int i = 0; i < 16; ++i) sum += lanes[i];
    float factor = 1.0f / sqrtf(sum / static_cast<float>(n) + eps);
    for (int i = 0; i < n; ++i) y[i] = x[i] * factor * weight[i];
}

void rotate(float* x, const float* cosine, const float* sine, int half) {
    for (int i = 0; i < half; ++i) {
        float a = x[i], b = x[i + half];
        x[i] = a * cosine[i] - b * sine[i];
        x[i + half] = b * cosine[i] + a * sine[i];
    }
}

void gated(const float* gate, const float* up, int n, float* out) {
    constexpr float kLog2e = 1.44269504f;
    for (int i = 0; i < n; ++i) {
        // Below -80 the product is 0 within what a float keeps; it also keeps 2^x finite.
        float g = gate[i] < -80.0f ? -80.0f : gate[i];
        out[i] = g / (1.0f + exp2_of(-g * kLog2e)) * up[i];
    }
}

void narrow(const float* x, float factor, int n, uint16_t* out) {
    for (int i = 0; i < n; ++i) out[i] = to_bf16(x[i] * factor);
}

// acc[lane] += sum over pairs of m[pair][lane][0..1] * x[pair][0..1], pairs `step` apart.
void pair_products(const uint16_t* m, size_t step, int pairs, const uint16_t* x, float* acc) {
    for (int p = 0; p < pairs; ++p) {
        const uint16_t* at = m + p * step;
        float first = from_bf16(x[2 * p]), second = from_bf16(x[2 * p + 1]);
        for (int lane = 0; lane < 16; ++lane) {
            acc[lane] += from_bf16(at[2 * lane]) * first;
            acc[lane] += from_bf16(at[2 * lane + 1]) * second;
        }
    }
}

void expand(const lm_pair& pair, int rank, int first, int last, const int16_t* low, float unit,
            float* y) {
    const int8_t* b = pair.b + static_cast<size_t>(first) * rank * kBlock;
    for (int n = first; n < last; ++n, y += kBlock) {
        int32_t sums[kBlock] = {};
        for (int p = 0; p < rank; p += 2, b += 2 * kBlock) {
            for (int row = 0; row < kBlock; ++row)
                sums[row] += b[2 * row] * low[p] + b[2 * row + 1] * low[p + 1];
        }
        for (int row = 0; row < kBlock; ++row) {
            const float step = from_half(pair.steps[n * kBlock + row]);
            y[row] += static_cast<float>(sums[row]) * unit * step;
        }
    }
}

size_t tile_halves(int dim) { return static_cast<size_t>(kKeys) * dim; }  // of keys or values

void store(const float* k, const float* v, int dim, uint16_t* keys, uint16_t* values,
           int column) {
    keys += tile_halves(dim) * (column / kKeys);
    values += tile_halves(dim) * (column / kKeys);
    const int c = column % kKeys;
    for (int i = 0; i < dim; ++i) {
        keys[(i / 2) * 2 * kKeys + 2 * c + i % 2] = to_bf16(k[i]);
        values[(c / 2) * 2 * dim + 2 * i + c % 2] = to_bf16(v[i]);
    }
}

void merge(float* into, const float* other, int dim) {
    float most = into[dim] > other[dim] ? into[dim] : other[dim];
    float mine = exp2_of(into[dim] - most), theirs = exp2_of(other[dim] - most);
    for (int i = 0; i < dim; ++i) into[i] = into[i] * mine + other[i] * theirs;
    into[dim] = most;
    into[dim + 1] = into[dim + 1] * mine + other[dim + 1] * theirs;
}

constexpr int kSpan = kSplit * kKeys;  // keys of a split
constexpr int kMostDim = 256;

// weights[key] = score of the key, kNone where the row does not see it; the largest is returned.
float scores(const Attend& work, int row, float* weights) {
    float most = kNone;
    for (int i = 0; i < work.count; ++i) {
        const uint16_t* keys = work.keys + tile_halves(work.dim) * work.tiles[i];
        float acc[kKeys] = {};
        pair_products(keys, 2 * kKeys, work.dim / 2, work.q + row * work.dim, acc);
        for (int c = 0; c < kKeys; ++c) {
            const int key = i * kKeys + c;
            bool seen = (work.valid[i] >> c & 1) && key >= work.from[row] && key < work.to[row];
            weights[key] = seen ? acc[c] : kNone;
            most = weights[key] > most ? weights[key] : most;
        }
    }
    return most;
}

void attend(const Attend& work) {
    const int dim = work.dim;
    for (int row = 0; row < work.rows; ++row) {
        float weights[kSpan];
        float most = scores(work, row, weights);
        if (most == kNone) continue;
        float fresh[kMostDim + 16] = {};
        fresh[dim] = most;
        for (int key = 0; key < work.count * kKeys; ++key) {
            float weight = exp2_of(weights[key] - most);
            fresh[dim + 1] += weight;
            weights[key] = from_bf16(to_bf16(weight));
        }
        for (int i = 0; i < work.count; ++i) {
            const uint16_t* values = work.values + tile_halves(dim) * work.tiles[i];
            for (int c = 0; c < kKeys; c += 2) {
                const float first = weights[i * kKeys + c], second = weights[i * kKeys + c + 1];
                const uint16_t* pair = values + c * dim;
                for (int j = 0; j < dim; ++j) {
                    fresh[j] += from_bf16(pair[2 * j]) * first;
                    fresh[j] += from_bf16(pair[2 * j + 1]) * second;
                }
            }
        }
        merge(work.state + static_cast<size_t>(row) * state_floats(dim), fresh, dim);
    }
}

void finish(const float* state, int dim, float* out) {
    for (int i = 0; i < dim; ++i) out[i] = state[i] / state[dim + 1];
}

}  // namespace

const Target* target_plain() {
    static const Target target = {"plain", 4,      quantise, matmul, norm,   rotate, gated, narrow,
                                  expand,  store,  attend,   merge,  finish};
    return &target;
}

}  // namespace lm

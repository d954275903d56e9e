// All of a target but quantising and products with 8-bit weights, over 16 float lanes.
//
// A target file defines, in an anonymous namespace, the type F of 16 floats and the functions
// below for it, and then includes this file there too:
//   F load(const float*), void save(float*, F), F fill(float)
//   F plus(F, F), F minus(F, F), F times(F, F), F fma(F a, F b, F c) a * b + c, F over(F, F) a / b,
//   F most(F, F) the larger, F nearest(F) whole numbers, F power(F whole) 2^whole, -126..127
//   F where(F a, F b, F yes, F no) a > b ? yes : no
//   void pairs(const uint16_t* m, F& first, F& second) from bf16 m[16][2]
//   void narrowed(F, uint16_t*) to bf16, nearest even
//
// A sum over lanes is always lane 0 + lane 1 + ...; every row of a call is summed alike, however
// many rows are handled together.
#ifndef LM_LANES_H
#define LM_LANES_H

constexpr int kWidth = 16;
constexpr int kSpan = kSplit * kKeys;  // keys of a split
constexpr int kMostDim = 256;

float total_of(F x) {
    float lane[kWidth];
    save(lane, x);
    float sum = 0.0f;
    for (int i = 0; i < kWidth; ++i) sum += lane[i];
    return sum;
}

float largest_of(F x) {
    float lane[kWidth];
    save(lane, x);
    float largest = lane[0];
    for (int i = 1; i < kWidth; ++i) largest = lane[i] > largest ? lane[i] : largest;
    return largest;
}

// 2^x for x <= 127 within 3e-7, 0 below the normal range.
// Source: Taylor terms of 2^f around 0 for |f| <= 0.5.
F exp2_of(F x) {
    const F low = fill(-126.0f);
    F inside = most(x, low);
    F whole = nearest(inside);
    F f = minus(inside, whole);
    F y = fill(1.5403530e-4f);
    y = fma(y, f, fill(1.3333558e-3f));
    y = fma(y, f, fill(9.6181291e-3f));
    y = fma(y, f, fill(5.5504109e-2f));
    y = fma(y, f, fill(2.4022651e-1f));
    y = fma(y, f, fill(6.9314718e-1f));
    y = fma(y, f, fill(1.0f));
    return where(x, low, times(y, power(whole)), fill(0.0f));
}

float exp2_of_one(float x) {
    float lane[kWidth];
    save(lane, exp2_of(fill(x)));
    return lane[0];
}

float from_bf16(uint16_t value) {
    uint32_t bits = static_cast<uint32_t>(value) << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

void norm(const float* x, const float* weight, float eps, int n, float* y) {
    F squares = fill(0.0f);
    for (int i = 0; i < n; i += kWidth) squares = fma(load(x + i), load(x + i), squares);
    F factor = fill(1.0f / sqrtf(total_of(squares) / static_cast<float>(n) + eps));
    for (int i = 0; i < n; i += kWidth)
        save(y + i, times(times(load(x + i), factor), load(weight + i)));
}

void rotate(float* x, const float* cosine, const float* sine, int half) {
    for (int i = 0; i < half; i += kWidth) {
        F a = load(x + i), b = load(x + half + i);
        F c = load(cosine + i), s = load(sine + i);
        save(x + i, minus(times(a, c), times(b, s)));
        save(x + half + i, fma(a, s, times(b, c)));
    }
}

void gated(const float* gate, const float* up, int n, float* out) {
    const F minus_log2e = fill(-1.44269504f), one = fill(1.0f);
    for (int i = 0; i < n; i += kWidth) {
        F g = most(load(gate + i), fill(-80.0f));  // below, the product is 0 for a float
        F silu = over(g, plus(one, exp2_of(times(g, minus_log2e))));
        save(out + i, times(silu, load(up + i)));
    }
}

void narrow(const float* x, float factor, int n, uint16_t* out) {
    for (int i = 0; i < n; i += kWidth) narrowed(times(load(x + i), fill(factor)), out + i);
}

// The 16 lanes of m (pairs, `step` values apart, of [16][2]) times x (pairs of bf16), for N rows of
// x that lie `apart`.
template <int N>
void pair_products(const uint16_t* m, size_t step, int count, const uint16_t* x, size_t apart,
                   F* acc) {
    F sum[N];
    for (int r = 0; r < N; ++r) sum[r] = fill(0.0f);
    for (int p = 0; p < count; ++p) {
        F first, second;
        pairs(m + p * step, first, second);
        for (int r = 0; r < N; ++r) {
            const uint16_t* at = x + r * apart + 2 * p;
            sum[r] = fma(first, fill(from_bf16(at[0])), sum[r]);
            sum[r] = fma(second, fill(from_bf16(at[1])), sum[r]);
        }
    }
    for (int r = 0; r < N; ++r) acc[r] = sum[r];
}

size_t tile_halves(int dim) { return static_cast<size_t>(kKeys) * dim; }  // of keys or values

void store(const float* k, const float* v, int dim, uint16_t* keys, uint16_t* values,
           int column) {
    keys += tile_halves(dim) * (column / kKeys);
    values += tile_halves(dim) * (column / kKeys);
    const int c = column % kKeys;
    for (int i = 0; i < dim; i += kWidth) {
        uint16_t key[kWidth], value[kWidth];
        narrowed(load(k + i), key);
        narrowed(load(v + i), value);
        for (int j = 0; j < kWidth; ++j) {
            keys[((i + j) / 2) * 2 * kKeys + 2 * c + j % 2] = key[j];
            values[(c / 2) * 2 * dim + 2 * (i + j) + c % 2] = value[j];
        }
    }
}

void merge(float* into, const float* other, int dim) {
    float largest = into[dim] > other[dim] ? into[dim] : other[dim];
    float mine = exp2_of_one(into[dim] - largest), theirs = exp2_of_one(other[dim] - largest);
    for (int i = 0; i < dim; i += kWidth)
        save(into + i, fma(load(into + i), fill(mine), times(load(other + i), fill(theirs))));
    into[dim] = largest;
    into[dim + 1] = into[dim + 1] * mine + other[dim + 1] * theirs;
}

// N rows of one split: their scores, weights and weighted values, as far as they see any key.
template <int N>
struct Rows {
    float weights[N][kSpan];
    float largest[N], sum[N];

    void score(const Attend& work, int row) {
        F highest[N];
        for (int r = 0; r < N; ++r) highest[r] = fill(kNone);
        float lane[kWidth];
        for (int i = 0; i < kWidth; ++i) lane[i] = static_cast<float>(i);
        for (int i = 0; i < work.count; ++i) {
            const uint16_t* keys = work.keys + tile_halves(work.dim) * work.tiles[i];
            F acc[N];
            pair_products<N>(keys, 2 * kKeys, work.dim / 2, work.q + row * work.dim, work.dim, acc);
            float valid[kWidth];  // the key's number, or below every range
            for (int c = 0; c < kKeys; ++c)
                valid[c] = work.valid[i] >> c & 1 ? static_cast<float>(i * kKeys) + lane[c] : -1.0f;
            F key = load(valid);
            for (int r = 0; r < N; ++r) {
                int from = work.from[row + r] > 0 ? work.from[row + r] : 0;
                F before = fill(static_cast<float>(from) - 0.5f);
                F end = fill(static_cast<float>(work.to[row + r]) - 0.5f);
                F seen = where(key, before, where(end, key, acc[r], fill(kNone)), fill(kNone));
                save(weights[r] + i * kKeys, seen);
                highest[r] = most(highest[r], seen);
            }
        }
        for (int r = 0; r < N; ++r) largest[r] = largest_of(highest[r]);
    }

    // Turns scores into softmax weights: the sum in float, what multiplies values in bf16.
    void weigh(int keys) {
        for (int r = 0; r < N; ++r) {
            F all = fill(0.0f);
            for (int i = 0; i < keys; i += kWidth) {
                F weight = exp2_of(minus(load(weights[r] + i), fill(largest[r])));
                all = plus(all, weight);
                uint16_t rounded[kWidth];
                narrowed(weight, rounded);
                for (int c = 0; c < kWidth; ++c) weights[r][i + c] = from_bf16(rounded[c]);
            }
            sum[r] = total_of(all);
        }
    }

    void add_values(const Attend& work, int row) const {
        float fresh[N][kMostDim + 16];
        for (int at = 0; at < work.dim; at += kWidth) {
            F acc[N];
            for (int r = 0; r < N; ++r) acc[r] = fill(0.0f);
            for (int i = 0; i < work.count; ++i) {
                const uint16_t* values =
                    work.values + tile_halves(work.dim) * work.tiles[i] + 2 * at;
                for (int c = 0; c < kKeys; c += 2) {
                    F first, second;
                    pairs(values + c * work.dim, first, second);
                    for (int r = 0; r < N; ++r) {
                        const float* weight = weights[r] + i * kKeys + c;
                        acc[r] = fma(first, fill(weight[0]), acc[r]);
                        acc[r] = fma(second, fill(weight[1]), acc[r]);
                    }
                }
            }
            for (int r = 0; r < N; ++r) save(fresh[r] + at, acc[r]);
        }
        for (int r = 0; r < N; ++r) {
            if (largest[r] == kNone) continue;
            fresh[r][work.dim] = largest[r];
            fresh[r][work.dim + 1] = sum[r];
            merge(work.state + static_cast<size_t>(row + r) * state_floats(work.dim), fresh[r],
                  work.dim);
        }
    }
};

template <int N>
void attend_rows(const Attend& work, int row) {
    Rows<N> rows;
    rows.score(work, row);
    rows.weigh(work.count * kKeys);
    rows.add_values(work, row);
}

void attend(const Attend& work) {
    int row = 0;
    for (; row + 4 <= work.rows; row += 4) attend_rows<4>(work, row);
    switch (work.rows - row) {
        case 3: attend_rows<3>(work, row); break;
        case 2: attend_rows<2>(work, row); break;
        case 1: attend_rows<1>(work, row); break;
        default: break;
    }
}

void finish(const float* state, int dim, float* out) {
    F sum = fill(state[dim + 1]);
    for (int i = 0; i < dim; i += kWidth) save(out + i, over(load(state + i), sum));
}

#endif

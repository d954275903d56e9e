// x86-64 with AVX2, FMA and F16C: most processors made since 2013.
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "target.h"

namespace lm {
namespace {

struct F {
    __m256 a, b;
};

inline F load(const float* x) { return {_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)}; }
inline void save(float* to, F x) {
    _mm256_storeu_ps(to, x.a);
    _mm256_storeu_ps(to + 8, x.b);
}
inline F fill(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline F plus(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline F minus(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline F times(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline F over(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline F most(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline F fma(F x, F y, F z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
inline F nearest(F x) {
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(x.a, kNearest), _mm256_round_ps(x.b, kNearest)};
}
inline __m256 power(__m256 whole) {
    __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
inline F power(F whole) { return {power(whole.a), power(whole.b)}; }
inline F where(F x, F y, F yes, F no) {
    return {_mm256_blendv_ps(no.a, yes.a, _mm256_cmp_ps(x.a, y.a, _CMP_GT_OQ)),
            _mm256_blendv_ps(no.b, yes.b, _mm256_cmp_ps(x.b, y.b, _CMP_GT_OQ))};
}

inline __m256i read(const void* from) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}
inline __m256 low_bf16(__m256i x) { return _mm256_castsi256_ps(_mm256_slli_epi32(x, 16)); }
inline __m256 high_bf16(__m256i x) {
    return _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32(-65536)));
}
inline void pairs(const uint16_t* m, F& first, F& second) {
    __m256i a = read(m), b = read(m + 16);
    first = {low_bf16(a), low_bf16(b)};
    second = {high_bf16(a), high_bf16(b)};
}
inline __m256i rounded_bf16(__m256 x) {  // in the low half of each 32 bits
    __m256i bits = _mm256_castps_si256(x);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i up = _mm256_add_epi32(_mm256_set1_epi32(0x7fff), odd);
    return _mm256_srli_epi32(_mm256_add_epi32(bits, up), 16);
}
inline void narrowed(F x, uint16_t* to) {
    __m256i both = _mm256_packus_epi32(rounded_bf16(x.a), rounded_bf16(x.b));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute4x64_epi64(both, 0xd8));
}

#include "lanes.h"

void quantise(const float* x, int groups, uint8_t* tile, int n, int t) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    for (int g = 0; g < groups; ++g) {
        const F first = load(x + g * kGroup), second = load(x + g * kGroup + 16);
        const F sizes = most({_mm256_andnot_ps(sign, first.a), _mm256_andnot_ps(sign, first.b)},
                             {_mm256_andnot_ps(sign, second.a), _mm256_andnot_ps(sign, second.b)});
        const float largest = largest_of(sizes);
        const float scale = largest / 127.0f;
        const F inverse = fill(largest > 0.0f ? 127.0f / largest : 0.0f);
        const F p = times(first, inverse), q = times(second, inverse);
        const __m256i a = _mm256_cvtps_epi32(p.a), b = _mm256_cvtps_epi32(p.b);
        const __m256i c = _mm256_cvtps_epi32(q.a), d = _mm256_cvtps_epi32(q.b);
        // Packing works in halves of 128 bits; the permutation puts the values back in order.
        const __m256i bytes = _mm256_permutevar8x32_epi32(
            _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d)),
            _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        int32_t lane[8];
        _mm256_storeu_si256(
            reinterpret_cast<__m256i*>(lane),
            _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d)));
        int32_t sum = 0;
        for (int i = 0; i < 8; ++i) sum += lane[i];
        const float total = scale * static_cast<float>(sum);
        uint8_t* record = tile + static_cast<size_t>(g) * n * kRecord;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(record + t * kGroup), bytes);
        memcpy(record + n * kGroup + t * 4, &scale, 4);
        memcpy(record + n * (kGroup + 4) + t * 4, &total, 4);
        memcpy(record + n * (kGroup + 8) + t * 4, &sum, 4);
    }
}

inline __m256i four_bytes(const int8_t* q) {
    int32_t bytes;
    memcpy(&bytes, q, sizeof bytes);
    return _mm256_set1_epi32(bytes);
}

// sums[t][row] of 8 rows over a group: a nibble of at most 15 times 127, twice in each of 8 steps,
// stays within 16 bits, so that one widening a group is enough. A byte is two nibbles.
template <int Kind, int N>
inline void group_sums(const uint8_t* quants, const int8_t* q, __m256i* sums) {
    const __m256i mask = _mm256_set1_epi8(15);
    __m256i low[N], high[N];
    for (int t = 0; t < N; ++t) low[t] = high[t] = _mm256_setzero_si256();
    for (int j = 0; j < (Kind == LM_Q8_0 ? 8 : 4); ++j) {
        const __m256i bytes = read(quants + j * 64);
        const __m256i a = _mm256_and_si256(bytes, mask);
        const __m256i b = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), mask);
        for (int t = 0; t < N; ++t) {
            const int8_t* at = q + t * kGroup + 4 * j;
            const __m256i x = four_bytes(at);
            low[t] = _mm256_add_epi16(low[t], _mm256_maddubs_epi16(a, x));
            if (Kind == LM_Q8_0) {
                high[t] = _mm256_add_epi16(high[t], _mm256_maddubs_epi16(b, x));
            } else {
                low[t] = _mm256_add_epi16(low[t], _mm256_maddubs_epi16(b, four_bytes(at + 16)));
            }
        }
    }
    for (int t = 0; t < N; ++t) {
        sums[t] = _mm256_madd_epi16(low[t], _mm256_set1_epi16(1));
        if (Kind == LM_Q8_0) {
            __m256i upper = _mm256_madd_epi16(high[t], _mm256_set1_epi16(16));
            sums[t] = _mm256_add_epi32(sums[t], upper);
        }
    }
}

inline __m256 halves(const uint8_t* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

// y[t * stride + 0..7] for N tokens and 8 rows of a block: `half` 0 or 1.
template <int Kind, int N>
void multiply(const uint8_t* block, int columns, int half, const uint8_t* tile, const float* bias,
              bool add, float* y, size_t stride) {
    __m256 acc[N];
    for (int t = 0; t < N; ++t) acc[t] = _mm256_setzero_ps();
    for (int g = 0; g < columns / kGroup; ++g) {
        const uint8_t* record = tile + static_cast<size_t>(g) * N * kRecord;
        const float* scale = reinterpret_cast<const float*>(record + N * kGroup);
        const int32_t* sum = reinterpret_cast<const int32_t*>(scale + 2 * N);
        __m256i sums[N];
        const uint8_t* scales = block + scales_at(Kind, g) + 16 * half;
        const uint8_t* quants = block + quants_at(Kind, g) + 32 * half;
        group_sums<Kind, N>(quants, reinterpret_cast<const int8_t*>(record), sums);
        const __m256 d = halves(scales);
        for (int t = 0; t < N; ++t) {
            if (Kind != LM_Q4_1) {
                const int32_t zero = sum[t] * (Kind == LM_Q8_0 ? 128 : 8);
                sums[t] = _mm256_sub_epi32(sums[t], _mm256_set1_epi32(zero));
            }
            const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[t]),
                                                _mm256_set1_ps(scale[t]));
            acc[t] = _mm256_fmadd_ps(scaled, d, acc[t]);
        }
        if (Kind == LM_Q4_1) {
            const __m256 m = halves(scales + 32);
            for (int t = 0; t < N; ++t)
                acc[t] = _mm256_fmadd_ps(m, _mm256_set1_ps(scale[N + t]), acc[t]);
        }
    }
    for (int t = 0; t < N; ++t) {
        float* out = y + t * stride + 8 * half;
        __m256 made = acc[t];
        if (bias) made = _mm256_add_ps(made, _mm256_loadu_ps(bias + 8 * half));
        if (add) made = _mm256_add_ps(_mm256_loadu_ps(out), made);
        _mm256_storeu_ps(out, made);
    }
}

#include "lanes_matmul.h"

void expand(const lm_pair& pair, int rank, int first, int last, const int16_t* low, float unit,
            float* y) {
    const int8_t* b = pair.b + static_cast<size_t>(first) * rank * kBlock;
    const uint8_t* steps = reinterpret_cast<const uint8_t*>(pair.steps + first * kBlock);
    for (int n = first; n < last; ++n) {
        __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};  // of 8 rows each
        for (int p = 0; p < rank; p += 2, b += 2 * kBlock) {
            int32_t both;  // bits of two numbers
            memcpy(&both, low + p, sizeof both);
            for (int i = 0; i < 2; ++i) {
                const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b) + i);
                const __m256i products =
                    _mm256_madd_epi16(_mm256_cvtepi8_epi16(bytes), _mm256_set1_epi32(both));
                sums[i] = _mm256_add_epi32(sums[i], products);
            }
        }
        for (int i = 0; i < 2; ++i, steps += 16, y += 8) {
            const __m256 sum = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[i]), _mm256_set1_ps(unit));
            _mm256_storeu_ps(y, _mm256_fmadd_ps(sum, halves(steps), _mm256_loadu_ps(y)));
        }
    }
}

}  // namespace

const Target* target_avx2() {
    static const Target target = {"avx2", 4,     quantise, matmul, norm,  rotate, gated, narrow,
                                  expand, store, attend,   merge,  finish};
    return &target;
}

}  // namespace lm

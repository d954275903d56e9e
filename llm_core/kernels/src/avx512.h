// The AVX-512 VNNI target, compiled twice: with bf16 dot products (LM_BF16) and without.
#ifndef LM_AVX512_H
#define LM_AVX512_H

#include <immintrin.h>
#include <string.h>

#include "target.h"

namespace {

using lm::kGroup;
using lm::kKeys;
using lm::kRecord;

constexpr int kAhead = 256;  // bytes to prefetch ahead: more takes the hardware out of its stream

inline __m512 half16(const uint8_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

inline __m512i load32(const void* p) {  // one 32-bit word in every lane
    int32_t word;
    memcpy(&word, p, 4);
    return _mm512_set1_epi32(word);
}

#ifdef LM_BF16
inline __m512 dot_pairs(__m512 acc, __m512i a, __m512i b) {
    return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}
inline __m256i narrow16(__m512 x) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)); }
#else
inline __m512 dot_pairs(__m512 acc, __m512i a, __m512i b) {
    const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
    __m512 a1 = _mm512_castsi512_ps(_mm512_and_si512(a, high));
    __m512 b1 = _mm512_castsi512_ps(_mm512_and_si512(b, high));
    __m512 a0 = _mm512_castsi512_ps(_mm512_slli_epi32(a, 16));
    __m512 b0 = _mm512_castsi512_ps(_mm512_slli_epi32(b, 16));
    return _mm512_fmadd_ps(a1, b1, _mm512_fmadd_ps(a0, b0, acc));
}
inline __m256i narrow16(__m512 x) {  // nearest even; the values are finite
    __m512i bits = _mm512_castps_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    bits = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16));
}
#endif

inline __m512 exp2_16(__m512 x) {  // x <= 0; below -126 it underflows towards 0
    __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 f = _mm512_sub_ps(x, n);
    __m512 p = _mm512_set1_ps(1.5403530e-4f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.3333558e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.6181291e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.5504109e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.4022651e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9314718e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

void quantise(const float* x, int groups, uint8_t* tile, int n, int t) {
    for (int g = 0; g < groups; ++g, tile += static_cast<size_t>(n) * kRecord) {
        __m512 low = _mm512_loadu_ps(x + g * kGroup), high = _mm512_loadu_ps(x + g * kGroup + 16);
        __m512 size = _mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high));
        float most = _mm512_reduce_max_ps(size);
        __m512 factor = _mm512_set1_ps(most > 0.0f ? 127.0f / most : 0.0f);
        __m512i a = _mm512_cvtps_epi32(_mm512_mul_ps(low, factor));
        __m512i b = _mm512_cvtps_epi32(_mm512_mul_ps(high, factor));
        __m128i* q = reinterpret_cast<__m128i*>(tile + t * kGroup);
        _mm_storeu_si128(q, _mm512_cvtsepi32_epi8(a));
        _mm_storeu_si128(q + 1, _mm512_cvtsepi32_epi8(b));
        int32_t sum = _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
        float scale = most * (1.0f / 127.0f);
        float* scales = reinterpret_cast<float*>(tile + n * kGroup);
        scales[t] = scale;
        scales[n + t] = scale * static_cast<float>(sum);
        reinterpret_cast<int32_t*>(scales + 2 * n)[t] = sum;
    }
}

template <int KIND>
inline void unpack(const uint8_t* q, __m512i* w) {
    if (KIND == LM_Q8_0) {
        for (int j = 0; j < 8; ++j) w[j] = _mm512_loadu_si512(q + 64 * j);
        return;
    }
    const __m512i low = _mm512_set1_epi8(15);
    for (int j = 0; j < 4; ++j) {
        __m512i both = _mm512_loadu_si512(q + 64 * j);
        w[j] = _mm512_and_si512(both, low);
        w[j + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
}

// One block of 16 rows times the N tokens of a tile.
template <int KIND, int N>
inline void multiply(const uint8_t* block, int groups, const uint8_t* tile, const float* bias,
                     bool add, float* y, size_t stride) {
    constexpr int kStep = N < 4 ? N : 4;  // tokens whose products are interleaved
    __m512 acc[N];
    for (int t = 0; t < N; ++t) acc[t] = _mm512_setzero_ps();
    for (int g = 0; g < groups; ++g) {
        const uint8_t* scales = tile + N * kGroup;  // of the tokens
        const uint8_t* steps = block + lm::scales_at(KIND, g);
        const uint8_t* quants = block + lm::quants_at(KIND, g);
        __m512i w[8];
        unpack<KIND>(quants, w);
        if (N < 4) {  // weights come from memory, once: ask ahead
            for (int j = 0; j < lm::quant_bytes(KIND) + 64; j += 64)
                _mm_prefetch(reinterpret_cast<const char*>(quants + kAhead + j), _MM_HINT_T0);
        }
        __m512 d = half16(steps), m = _mm512_setzero_ps();
        if (KIND == LM_Q4_1) m = half16(steps + 32);
#pragma GCC unroll 16
        for (int t0 = 0; t0 < N; t0 += kStep) {
            __m512i sums[kStep];
#pragma GCC unroll 4
            for (int t = 0; t < kStep; ++t) {
                sums[t] = _mm512_setzero_si512();
                if (KIND != LM_Q4_1 && t0 + t < N) {
                    int32_t sum;
                    memcpy(&sum, scales + 8 * N + 4 * (t0 + t), 4);
                    sums[t] = _mm512_set1_epi32(sum * (KIND == LM_Q8_0 ? -128 : -8));
                }
            }
#pragma GCC unroll 8
            for (int j = 0; j < 8; ++j) {
#pragma GCC unroll 4
                for (int t = 0; t < kStep; ++t)
                    if (t0 + t < N)
                        sums[t] = _mm512_dpbusd_epi32(
                            sums[t], w[j], load32(tile + (t0 + t) * kGroup + 4 * j));
            }
#pragma GCC unroll 4
            for (int t = 0; t < kStep; ++t) {
                if (t0 + t >= N) continue;
                __m512 scale = _mm512_castsi512_ps(load32(scales + 4 * (t0 + t)));
                __m512 total = _mm512_castsi512_ps(load32(scales + 4 * (N + t0 + t)));
                __m512 part = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[t]), scale);
                acc[t0 + t] = _mm512_fmadd_ps(part, d, acc[t0 + t]);
                if (KIND == LM_Q4_1) acc[t0 + t] = _mm512_fmadd_ps(m, total, acc[t0 + t]);
            }
        }
        tile += N * kRecord;
    }
    __m512 offset = bias ? _mm512_loadu_ps(bias) : _mm512_setzero_ps();
    for (int t = 0; t < N; ++t) {
        __m512 sum = bias ? _mm512_add_ps(acc[t], offset) : acc[t];
        if (add) sum = _mm512_add_ps(_mm512_loadu_ps(y + t * stride), sum);
        _mm512_storeu_ps(y + t * stride, sum);
    }
}

template <int KIND, int N>
void multiply_blocks(const lm_matrix& w, int first, int last, const uint8_t* tile,
                     const float* bias, bool add, float* y, size_t stride) {
    const size_t bytes = lm::block_bytes(KIND, w.columns);
    for (int b = first; b < last; ++b) {
        multiply<KIND, N>(w.data + b * bytes, w.columns / kGroup, tile, bias, add, y, stride);
        y += lm::kBlock;
        if (bias) bias += lm::kBlock;
    }
}

template <int KIND>
void multiply_kind(const lm_matrix& w, int first, int last, const uint8_t* tile, int n,
                   const float* bias, bool add, float* y, size_t stride) {
    switch (n) {
#define LM_TILE(N)                                                               \
    case N:                                                                      \
        multiply_blocks<KIND, N>(w, first, last, tile, bias, add, y, stride);    \
        break;
        LM_TILE(1) LM_TILE(2) LM_TILE(3) LM_TILE(4) LM_TILE(5) LM_TILE(6) LM_TILE(7) LM_TILE(8)
        LM_TILE(9) LM_TILE(10) LM_TILE(11) LM_TILE(12) LM_TILE(13) LM_TILE(14) LM_TILE(15)
        LM_TILE(16)
#undef LM_TILE
    }
}

void matmul(const lm_matrix& w, int first, int last, const uint8_t* tile, int n,
            const float* bias, bool add, float* y, size_t stride) {
    if (w.kind == LM_Q4_1)
        multiply_kind<LM_Q4_1>(w, first, last, tile, n, bias, add, y, stride);
    else if (w.kind == LM_Q4_0)
        multiply_kind<LM_Q4_0>(w, first, last, tile, n, bias, add, y, stride);
    else
        multiply_kind<LM_Q8_0>(w, first, last, tile, n, bias, add, y, stride);
}

void norm(const float* x, const float* weight, float eps, int n, float* y) {
    __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                      _mm512_setzero_ps()};
    for (int i = 0; i < n; i += 16) {
        __m512 v = _mm512_loadu_ps(x + i);
        sums[i / 16 % 4] = _mm512_fmadd_ps(v, v, sums[i / 16 % 4]);
    }
    __m512 all = _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
    float mean = _mm512_reduce_add_ps(all) / static_cast<float>(n) + eps;
    __m512 factor = _mm512_div_ps(_mm512_set1_ps(1.0f), _mm512_sqrt_ps(_mm512_set1_ps(mean)));
    for (int i = 0; i < n; i += 16) {
        __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x + i), factor);
        _mm512_storeu_ps(y + i, _mm512_mul_ps(v, _mm512_loadu_ps(weight + i)));
    }
}

void rotate(float* x, const float* cosine, const float* sine, int half) {
    for (int i = 0; i < half; i += 16) {
        __m512 a = _mm512_loadu_ps(x + i), b = _mm512_loadu_ps(x + half + i);
        __m512 c = _mm512_loadu_ps(cosine + i), s = _mm512_loadu_ps(sine + i);
        _mm512_storeu_ps(x + i, _mm512_fmsub_ps(a, c, _mm512_mul_ps(b, s)));
        _mm512_storeu_ps(x + half + i, _mm512_fmadd_ps(b, c, _mm512_mul_ps(a, s)));
    }
}

void gated(const float* gate, const float* up, int n, float* out) {
    const __m512 log2e = _mm512_set1_ps(1.44269504f), one = _mm512_set1_ps(1.0f);
    for (int i = 0; i < n; i += 16) {
        __m512 x = _mm512_loadu_ps(gate + i);
        __m512 size = _mm512_abs_ps(x);
        __m512 e = exp2_16(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(size, log2e)));
        // sigmoid(x) is 1 / (1 + e) for x >= 0 and e / (1 + e) below
        __mmask16 below = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
        __m512 share = _mm512_div_ps(_mm512_mask_blend_ps(below, one, e), _mm512_add_ps(one, e));
        __m512 y = _mm512_mul_ps(_mm512_mul_ps(x, share), _mm512_loadu_ps(up + i));
        _mm512_storeu_ps(out + i, y);
    }
}

void narrow(const float* x, float factor, int n, uint16_t* out) {
    for (int i = 0; i < n; i += 16) {
        __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(factor));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), narrow16(v));
    }
}

void expand(const lm_pair& pair, int rank, int first, int last, const int16_t* low, float unit,
            float* y) {
    const int8_t* b = pair.b + static_cast<size_t>(first) * rank * 16;
    const uint8_t* steps = reinterpret_cast<const uint8_t*>(pair.steps + first * 16);
    for (int n = first; n < last; ++n, steps += 32, y += 16) {
        __m512i sums[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
        for (int p = 0; p < rank / 2; p += 2) {
#pragma GCC unroll 2
            for (int i = 0; i < 2; ++i, b += 32) {
                __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b));
                sums[i] = _mm512_dpwssd_epi32(sums[i], _mm512_cvtepi8_epi16(bytes),
                                              load32(low + 2 * (p + i)));
            }
        }
        __m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(sums[0], sums[1]));
        sum = _mm512_mul_ps(sum, _mm512_set1_ps(unit));
        _mm512_storeu_ps(y, _mm512_fmadd_ps(sum, half16(steps), _mm512_loadu_ps(y)));
    }
}

#include "avx512_attention.h"

const lm::Target kTarget = {
#ifdef LM_BF16
    "avx512bf16",
#else
    "avx512",
#endif
    16,     quantise, matmul, norm,  rotate, gated,  narrow,
    expand, store,    attend, merge, finish,
};

}  // namespace

#endif

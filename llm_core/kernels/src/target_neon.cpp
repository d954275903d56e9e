// aarch64 with dot products: Apple silicon, Graviton 2 and later, Cortex-A76 and later.
#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "target.h"

namespace lm {
namespace {

constexpr int kQuads = 4;  // registers of four floats

struct F {
    float32x4_t v[kQuads];
};

template <class Step>
inline F each(Step step) {
    return {{step(0), step(1), step(2), step(3)}};
}
inline F load(const float* x) {
    return each([=](int i) { return vld1q_f32(x + 4 * i); });
}
inline void save(float* to, F x) {
    for (int i = 0; i < kQuads; ++i) vst1q_f32(to + 4 * i, x.v[i]);
}
inline F fill(float x) {
    return each([=](int) { return vdupq_n_f32(x); });
}
inline F plus(const F& x, const F& y) {
    return each([&](int i) { return vaddq_f32(x.v[i], y.v[i]); });
}
inline F minus(const F& x, const F& y) {
    return each([&](int i) { return vsubq_f32(x.v[i], y.v[i]); });
}
inline F times(const F& x, const F& y) {
    return each([&](int i) { return vmulq_f32(x.v[i], y.v[i]); });
}
inline F over(const F& x, const F& y) {
    return each([&](int i) { return vdivq_f32(x.v[i], y.v[i]); });
}
inline F most(const F& x, const F& y) {
    return each([&](int i) { return vmaxq_f32(x.v[i], y.v[i]); });
}
inline F fma(const F& x, const F& y, const F& z) {
    return each([&](int i) { return vfmaq_f32(z.v[i], x.v[i], y.v[i]); });
}
inline F nearest(const F& x) {
    return each([&](int i) { return vrndnq_f32(x.v[i]); });
}
inline F power(const F& whole) {
    return each([&](int i) {
        int32x4_t exponent = vaddq_s32(vcvtq_s32_f32(whole.v[i]), vdupq_n_s32(127));
        return vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23));
    });
}
inline F where(const F& x, const F& y, const F& yes, const F& no) {
    return each([&](int i) { return vbslq_f32(vcgtq_f32(x.v[i], y.v[i]), yes.v[i], no.v[i]); });
}
inline uint32x4_t two_bf16(const uint16_t* m, int i) {
    return vreinterpretq_u32_u16(vld1q_u16(m + 8 * i));
}
inline void pairs(const uint16_t* m, F& first, F& second) {
    first = each([=](int i) { return vreinterpretq_f32_u32(vshlq_n_u32(two_bf16(m, i), 16)); });
    second = each([=](int i) {
        return vreinterpretq_f32_u32(vandq_u32(two_bf16(m, i), vdupq_n_u32(0xffff0000u)));
    });
}
inline void narrowed(const F& x, uint16_t* to) {
    for (int i = 0; i < kQuads; ++i) {
        uint32x4_t bits = vreinterpretq_u32_f32(x.v[i]);
        uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
        uint32x4_t up = vaddq_u32(vdupq_n_u32(0x7fff), odd);
        vst1_u16(to + 4 * i, vshrn_n_u32(vaddq_u32(bits, up), 16));
    }
}

#include "lanes.h"

void quantise(const float* x, int groups, uint8_t* tile, int n, int t) {
    for (int g = 0; g < groups; ++g) {
        const F first = load(x + g * kGroup), second = load(x + g * kGroup + 16);
        const F sizes = each([&](int i) {
            return vmaxq_f32(vabsq_f32(first.v[i]), vabsq_f32(second.v[i]));
        });
        const float largest = largest_of(sizes);
        const float scale = largest / 127.0f;
        const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
        int32_t sum = 0;
        int8_t q[kGroup];
        for (int i = 0; i < 2 * kQuads; i += 2) {
            const F& half = i < kQuads ? first : second;
            int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(half.v[i % kQuads], inverse));
            int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(half.v[i % kQuads + 1], inverse));
            sum += vaddvq_s32(vaddq_s32(a, b));
            vst1_s8(q + 4 * i, vqmovn_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(b))));
        }
        const float total = scale * static_cast<float>(sum);
        uint8_t* record = tile + static_cast<size_t>(g) * n * kRecord;
        memcpy(record + t * kGroup, q, sizeof q);
        memcpy(record + n * kGroup + t * 4, &scale, 4);
        memcpy(record + n * (kGroup + 4) + t * 4, &total, 4);
        memcpy(record + n * (kGroup + 8) + t * 4, &sum, 4);
    }
}

// Four bytes of x, chosen by `Lane`, against 2 x 4 rows of four weights.
template <int Lane>
inline void dot(int32x4_t* sum, int8x16_t first, int8x16_t second, int8x16_t x) {
    sum[0] = vdotq_laneq_s32(sum[0], first, x, Lane);
    sum[1] = vdotq_laneq_s32(sum[1], second, x, Lane);
}

// Step J of a group, 8 rows: sums[t] += weights of 4 columns (and of 4 more 16 further on).
template <int Kind, int N, int J>
inline void group_step(const uint8_t* quants, const int8x16_t (*x)[2], int32x4_t (*sums)[2]) {
    const uint8x16_t a = vld1q_u8(quants + J * 64), b = vld1q_u8(quants + J * 64 + 16);
    if (Kind == LM_Q8_0) {  // signed again, so that nothing is left to subtract
        const int8x16_t first = vreinterpretq_s8_u8(veorq_u8(a, vdupq_n_u8(0x80)));
        const int8x16_t second = vreinterpretq_s8_u8(veorq_u8(b, vdupq_n_u8(0x80)));
        for (int t = 0; t < N; ++t) dot<J % 4>(sums[t], first, second, x[t][J / 4]);
        return;
    }
    const uint8x16_t mask = vdupq_n_u8(15);
    const int8x16_t low_a = vreinterpretq_s8_u8(vandq_u8(a, mask));
    const int8x16_t low_b = vreinterpretq_s8_u8(vandq_u8(b, mask));
    const int8x16_t high_a = vreinterpretq_s8_u8(vshrq_n_u8(a, 4));
    const int8x16_t high_b = vreinterpretq_s8_u8(vshrq_n_u8(b, 4));
    for (int t = 0; t < N; ++t) {
        dot<J % 4>(sums[t], low_a, low_b, x[t][0]);
        dot<J % 4>(sums[t], high_a, high_b, x[t][1]);
    }
}

template <int Kind, int N>
inline void group_sums(const uint8_t* quants, const int8_t* q, int32x4_t (*sums)[2]) {
    int8x16_t x[N][2];
    for (int t = 0; t < N; ++t) {
        x[t][0] = vld1q_s8(q + t * kGroup);
        x[t][1] = vld1q_s8(q + t * kGroup + 16);
        sums[t][0] = sums[t][1] = vdupq_n_s32(0);
    }
    group_step<Kind, N, 0>(quants, x, sums);
    group_step<Kind, N, 1>(quants, x, sums);
    group_step<Kind, N, 2>(quants, x, sums);
    group_step<Kind, N, 3>(quants, x, sums);
    if (Kind != LM_Q8_0) return;
    group_step<Kind, N, 4>(quants, x, sums);
    group_step<Kind, N, 5>(quants, x, sums);
    group_step<Kind, N, 6>(quants, x, sums);
    group_step<Kind, N, 7>(quants, x, sums);
}

inline float32x4_t halves(const uint8_t* from) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(from)));
}

// y[t * stride + 0..7] for N tokens and 8 rows of a block: `half` 0 or 1.
template <int Kind, int N>
void multiply(const uint8_t* block, int columns, int half, const uint8_t* tile, const float* bias,
              bool add, float* y, size_t stride) {
    float32x4_t acc[N][2];
    for (int t = 0; t < N; ++t) acc[t][0] = acc[t][1] = vdupq_n_f32(0.0f);
    for (int g = 0; g < columns / kGroup; ++g) {
        const uint8_t* record = tile + static_cast<size_t>(g) * N * kRecord;
        const float* scale = reinterpret_cast<const float*>(record + N * kGroup);
        const int32_t* sum = reinterpret_cast<const int32_t*>(scale + 2 * N);
        int32x4_t sums[N][2];
        const uint8_t* scales = block + scales_at(Kind, g) + 16 * half;
        const uint8_t* quants = block + quants_at(Kind, g) + 32 * half;
        group_sums<Kind, N>(quants, reinterpret_cast<const int8_t*>(record), sums);
        for (int i = 0; i < 2; ++i) {
            const float32x4_t d = halves(scales + 8 * i);
            for (int t = 0; t < N; ++t) {
                if (Kind == LM_Q4_0) sums[t][i] = vsubq_s32(sums[t][i], vdupq_n_s32(8 * sum[t]));
                const float32x4_t scaled = vmulq_n_f32(vcvtq_f32_s32(sums[t][i]), scale[t]);
                acc[t][i] = vfmaq_f32(acc[t][i], scaled, d);
            }
            if (Kind != LM_Q4_1) continue;
            const float32x4_t m = halves(scales + 32 + 8 * i);
            for (int t = 0; t < N; ++t) acc[t][i] = vfmaq_n_f32(acc[t][i], m, scale[N + t]);
        }
    }
    for (int t = 0; t < N; ++t) {
        for (int i = 0; i < 2; ++i) {
            float* out = y + t * stride + 8 * half + 4 * i;
            float32x4_t made = acc[t][i];
            if (bias) made = vaddq_f32(made, vld1q_f32(bias + 8 * half + 4 * i));
            if (add) made = vaddq_f32(vld1q_f32(out), made);
            vst1q_f32(out, made);
        }
    }
}

#include "lanes_matmul.h"

void expand(const lm_pair& pair, int rank, int first, int last, const int16_t* low, float unit,
            float* y) {
    const int8_t* b = pair.b + static_cast<size_t>(first) * rank * kBlock;
    const uint8_t* steps = reinterpret_cast<const uint8_t*>(pair.steps + first * kBlock);
    for (int n = first; n < last; ++n) {
        int32x4_t sums[kQuads];
        for (int i = 0; i < kQuads; ++i) sums[i] = vdupq_n_s32(0);
        for (int p = 0; p < rank; p += 2, b += 2 * kBlock) {
            for (int half = 0; half < 2; ++half) {
                const int8x8x2_t bytes = vld2_s8(b + kBlock * half);  // columns p and p + 1
                for (int i = 0; i < 2; ++i) {
                    const int16x8_t wide = vmovl_s8(bytes.val[i]);
                    int32x4_t* sum = sums + 2 * half;
                    sum[0] = vmlal_n_s16(sum[0], vget_low_s16(wide), low[p + i]);
                    sum[1] = vmlal_n_s16(sum[1], vget_high_s16(wide), low[p + i]);
                }
            }
        }
        for (int i = 0; i < kQuads; ++i, steps += 8, y += 4) {
            const float32x4_t sum = vmulq_n_f32(vcvtq_f32_s32(sums[i]), unit);
            vst1q_f32(y, vfmaq_f32(vld1q_f32(y), sum, halves(steps)));
        }
    }
}

}  // namespace

const Target* target_neon() {
    static const Target target = {"neon", 4,     quantise, matmul, norm,  rotate, gated, narrow,
                                  expand, store, attend,   merge,  finish};
    return &target;
}

}  // namespace lm

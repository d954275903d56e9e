// Attention of packed texts in bfloat16: each text sees itself, whole, and nothing else.
//
// One work item is one head of one text. Its keys and values are laid out once for the
// instruction that multiplies pairs of bfloat16 (vdpbf16ps); blocks of queries then run over
// them, their scores and weights never leaving the cache. Sums are float32. What a text gets
// does not depend on the texts beside it, nor on how many threads share the items.
//
// These functions alone are compiled for AVX-512, and only called where the processor has it,
// so the library loads anywhere.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <exception>
#include <thread>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

#if defined(__x86_64__) && defined(__linux__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,prefer-vector-width=512")
#endif

namespace {

const int LANES = 16;  // float32 numbers of a register
const int TILES = 24;  // registers that hold sums; the other eight hold operands
const int MOST_ROWS = 12;
const int MOST_WIDTH = 256;

struct Work {
    const uint16_t* qkv;  // (N, 3, H, D)
    uint16_t* out;        // (N, H, D)
    int heads;
    int width;  // D
    float scale;
};

// ROWS queries are computed together, TILES / ROWS registers of keys or channels wide.
template <int ROWS>
struct Block {
    static const int WIDE = TILES / ROWS;
    static const int STEP = WIDE * LANES;  // keys are padded to a multiple of this
};

inline int round_up(int n, int step) { return (n + step - 1) / step * step; }

// The first n lanes.
inline __mmask16 lanes(int n) { return n >= LANES ? 0xffff : (__mmask16)((1u << n) - 1); }

// e^x for x <= 0, within 1e-5 of its value; 0 far below.
inline __m512 exponential(__m512 x) {
    const __m512 t = _mm512_mul_ps(x, _mm512_set1_ps(1.44269504f));
    const __m512 n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 f = _mm512_sub_ps(t, n);  // -0.5 .. 0.5: the series of 2^f
    __m512 y = _mm512_set1_ps(0.00961813f);
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0.05550411f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0.24022651f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0.69314718f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(y, n);
}

// keys[p][j]: channels 2p and 2p + 1 of key j; zeros behind the last key.
void lay_keys(const uint16_t* k, size_t stride, int width, int length, int padded, uint32_t* keys) {
    for (int from = 0; from < padded; from += LANES) {
        for (int p0 = 0; p0 < width / 2; p0 += LANES) {
            uint32_t tile[LANES][LANES];
            for (int j = 0; j < LANES; j++) {
                if (from + j < length) {
                    memcpy(tile[j], k + (from + j) * stride + 2 * p0, sizeof tile[j]);
                } else {
                    memset(tile[j], 0, sizeof tile[j]);
                }
            }
            for (int p = 0; p < LANES; p++) {
                uint32_t* row = keys + (size_t)(p0 + p) * padded + from;
                for (int j = 0; j < LANES; j++) row[j] = tile[j][p];
            }
        }
    }
}

// values[m][d]: channel d of values 2m and 2m + 1; a zero behind the last value.
void lay_values(const uint16_t* v, size_t stride, int width, int length, uint32_t* values) {
    for (int m = 0; m < (length + 1) / 2; m++) {
        const uint16_t* even = v + 2 * m * stride;
        const bool paired = 2 * m + 1 < length;
        for (int d = 0; d < width; d += LANES) {
            const __m512i a = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(even + d)));
            __m512i b = _mm512_setzero_si512();
            if (paired) {
                b = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(even + stride + d)));
                b = _mm512_slli_epi32(b, 16);
            }
            _mm512_storeu_si512(values + (size_t)m * width + d, _mm512_or_si512(a, b));
        }
    }
}

// The same two numbers in every lane.
inline __m512bh pair(const void* at) {
    uint32_t two;
    memcpy(&two, at, sizeof two);
    return (__m512bh)_mm512_set1_epi32((int)two);
}

// scores[r][j] = q[r] . k[j] for ROWS queries and all keys.
template <int ROWS>
void score(const uint16_t* const* q, const uint32_t* keys, int half, int padded, float* scores) {
    const int WIDE = Block<ROWS>::WIDE;
    for (int j = 0; j < padded; j += WIDE * LANES) {
        __m512 sum[ROWS][WIDE];
        for (int r = 0; r < ROWS; r++)
            for (int w = 0; w < WIDE; w++) sum[r][w] = _mm512_setzero_ps();
        for (int p = 0; p < half; p++) {
            __m512bh key[WIDE];
            for (int w = 0; w < WIDE; w++)
                key[w] = (__m512bh)_mm512_loadu_si512(keys + (size_t)p * padded + j + w * LANES);
            for (int r = 0; r < ROWS; r++) {
                const __m512bh two = pair(q[r] + 2 * p);
                for (int w = 0; w < WIDE; w++) sum[r][w] = _mm512_dpbf16_ps(sum[r][w], two, key[w]);
            }
        }
        for (int r = 0; r < ROWS; r++)
            for (int w = 0; w < WIDE; w++)
                _mm512_storeu_ps(scores + (size_t)r * padded + j + w * LANES, sum[r][w]);
    }
}

// Softmax of a row: weights become e^(scale (s - max)), 0 behind `length`; returns 1 / their sum.
float weigh(const float* scores, int length, int padded, float scale, uint16_t* weights) {
    const int whole = length / LANES * LANES;
    const __mmask16 rest = lanes(length - whole);
    __m512 top = _mm512_set1_ps(-3e38f);
    for (int j = 0; j < whole; j += LANES) top = _mm512_max_ps(top, _mm512_loadu_ps(scores + j));
    if (rest) top = _mm512_max_ps(top, _mm512_mask_loadu_ps(top, rest, scores + whole));
    const __m512 factor = _mm512_set1_ps(scale);
    const __m512 peak = _mm512_set1_ps(_mm512_reduce_max_ps(top) * scale);
    __m512 total = _mm512_setzero_ps();
    for (int j = 0; j < padded; j += LANES) {
        __m512 e = exponential(_mm512_fmsub_ps(_mm512_loadu_ps(scores + j), factor, peak));
        if (j >= whole) e = _mm512_maskz_mov_ps(j == whole ? rest : 0, e);
        total = _mm512_add_ps(total, e);
        _mm256_storeu_si256((__m256i*)(weights + j), (__m256i)_mm512_cvtneps_pbh(e));
    }
    return 1.0f / _mm512_reduce_add_ps(total);
}

// out[r] = inverse[r] times the sum over j of weights[r][j] v[j], for channels from d.
template <int ROWS>
void gather(const uint16_t* weights, const float* inverse, const uint32_t* values, int length,
            int padded, int width, int d, uint16_t* const* out) {
    const int WIDE = Block<ROWS>::WIDE;
    __m512 sum[ROWS][WIDE];
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < WIDE; w++) sum[r][w] = _mm512_setzero_ps();
    for (int m = 0; m < (length + 1) / 2; m++) {
        __m512bh value[WIDE];
        for (int w = 0; w < WIDE; w++)
            value[w] = (__m512bh)_mm512_loadu_si512(values + (size_t)m * width + d + w * LANES);
        for (int r = 0; r < ROWS; r++) {
            const __m512bh two = pair(weights + (size_t)r * padded + 2 * m);
            for (int w = 0; w < WIDE; w++) sum[r][w] = _mm512_dpbf16_ps(sum[r][w], two, value[w]);
        }
    }
    for (int r = 0; r < ROWS; r++) {
        const __m512 by = _mm512_set1_ps(inverse[r]);
        for (int w = 0; w < WIDE; w++)
            _mm256_storeu_si256((__m256i*)(out[r] + d + w * LANES),
                                (__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(sum[r][w], by)));
    }
}

// All queries of one head of one text. D is a multiple of Block<ROWS>::STEP.
template <int ROWS>
void one_head(const Work& work, int head, int from, int length, uint32_t* scratch) {
    const int width = work.width, padded = round_up(length, Block<ROWS>::STEP);
    const size_t wide = (size_t)work.heads * width, stride = 3 * wide;
    const uint16_t* q = work.qkv + from * stride + head * width;
    uint32_t* keys = scratch;
    uint32_t* values = keys + (size_t)padded * width / 2;
    float* scores = (float*)(values + (size_t)padded * width / 2);
    uint16_t* weights = (uint16_t*)(scores + (size_t)ROWS * padded);
    uint16_t spare[MOST_WIDTH];  // takes what rows behind the last one would write
    lay_keys(q + wide, stride, width, length, padded, keys);
    lay_values(q + 2 * wide, stride, width, length, values);
    for (int row = 0; row < length; row += ROWS) {
        const uint16_t* asked[ROWS];
        uint16_t* out[ROWS];
        float inverse[ROWS];
        for (int r = 0; r < ROWS; r++) {
            const bool real = row + r < length;
            asked[r] = q + (size_t)(real ? row + r : length - 1) * stride;
            out[r] = real ? work.out + (from + row + r) * wide + head * width : spare;
        }
        score<ROWS>(asked, keys, width / 2, padded, scores);
        for (int r = 0; r < ROWS; r++)
            inverse[r] = weigh(scores + (size_t)r * padded, length, padded, work.scale,
                               weights + (size_t)r * padded);
        for (int d = 0; d < width; d += Block<ROWS>::STEP)
            gather<ROWS>(weights, inverse, values, length, padded, width, d, out);
    }
}

}  // namespace

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

// 1 where this processor can run encoder_attend on heads of `width` channels.
API int encoder_supported(int32_t width) {
    __builtin_cpu_init();
    if (width <= 0 || width % 32 || width > MOST_WIDTH) return 0;
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

// torch's own threads where its OpenMP library can be seen: those of a second pool would wait
// for a core on which an idle thread of the first one spins.
extern "C" void GOMP_parallel(void (*run)(void*), void* job, unsigned threads, unsigned flags)
    __attribute__((weak));

namespace {

struct Job {
    Work work;
    const int32_t* ends;
    int texts;
    size_t bytes;  // of a thread's scratch
    int next;      // work item to take
    int failed;
};

// Take items until none is left.
void run(void* shared) {
    Job& job = *(Job*)shared;
    uint32_t* scratch = (uint32_t*)aligned_alloc(64, job.bytes);
    if (!scratch) {
        __atomic_store_n(&job.failed, 1, __ATOMIC_RELAXED);
        return;
    }
    for (;;) {
        const int item = __atomic_fetch_add(&job.next, 1, __ATOMIC_RELAXED);
        if (item >= job.texts * job.work.heads) break;
        const int text = item / job.work.heads, head = item % job.work.heads;
        const int from = text ? job.ends[text - 1] : 0, length = job.ends[text] - from;
        if (job.work.width % 64) {
            one_head<12>(job.work, head, from, length, scratch);
        } else {
            one_head<6>(job.work, head, from, length, scratch);
        }
    }
    free(scratch);
}

}  // namespace

// Queries, keys and values (N, 3, H, D) to means (N, H, D), all bfloat16. Text t has the rows
// from ends[t - 1] to ends[t]. Returns 0, or 1 where memory is short.
API int encoder_attend(const uint16_t* qkv, uint16_t* out, const int32_t* ends, int32_t texts,
                       int32_t heads, int32_t width, float scale, int32_t threads) {
    int longest = 0;
    for (int t = 0; t < texts; t++) {
        const int length = ends[t] - (t ? ends[t - 1] : 0);
        longest = length > longest ? length : longest;
    }
    const size_t padded = round_up(longest, 64);
    // keys and values; then scores of four and weights of two bytes
    const size_t bytes = padded * width * 4 + padded * MOST_ROWS * 6;
    Job job = {{qkv, out, heads, width, scale}, ends, texts, (bytes + 63) / 64 * 64, 0, 0};
    if (threads > 1 && GOMP_parallel) {
        GOMP_parallel(run, &job, threads, 0);
    } else {
        std::vector<std::thread> helpers;
        try {
            for (int t = 1; t < threads; t++) helpers.emplace_back(run, &job);
        } catch (const std::exception&) {
            // No more threads are to be had: those there are do the work.
        }
        run(&job);
        for (std::thread& helper : helpers) helper.join();
    }
    return job.failed;
}

#else

API int encoder_supported(int32_t) { return 0; }
API int encoder_attend(const uint16_t*, uint16_t*, const int32_t*, int32_t, int32_t, int32_t, float,
                       int32_t) {
    return 1;
}

#endif

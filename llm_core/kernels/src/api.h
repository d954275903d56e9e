// The C interface of the kernel library: packed weights in, logits out.
//
// Every pointer is borrowed: the caller keeps weights, tables, caches and buffers alive while they
// are in use. Floats are IEEE binary32, "half" is binary16, "bf16" the upper 16 bits of a float.
// Functions that can fail return 0 on success; lm_error() then says why in one line.
//
// Compiler flags. All files: -std=c++17 -O3 -fPIC -fvisibility=hidden -ffp-contract=off
//   -fno-math-errno -pthread; linked with -shared. Never -ffast-math: results must not depend on
//   how calls are batched. Every .cpp file is compiled, target files with flags of their own:
// x86-64: target_avx2.cpp   -mavx2 -mfma -mf16c
//         target_avx512.cpp -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma
//                           -mf16c -mprefer-vector-width=512
//         target_avx512bf16.cpp  the same and -mavx512bf16
// aarch64: target_neon.cpp -march=armv8.2-a+dotprod
// Files of another machine's targets are left out.
#ifndef LM_API_H
#define LM_API_H

#include <stddef.h>
#include <stdint.h>

#define LM_API extern "C" __attribute__((visibility("default")))
#define LM_API_VERSION 2     // of this interface; lm_version() returns it
#define LM_LAYOUT_VERSION 2  // of the packed matrices: part of the key of packed files

// How a matrix is stored. A weight is d * q + m with d, m of its group of 32 columns:
// Q4_1: q = 0..15, m stored; Q4_0: q = 0..15, m = -8 d; Q8_0: q = 0..255 (file byte + 128),
// m = -128 d.
enum lm_kind { LM_Q4_0 = 2, LM_Q4_1 = 3, LM_Q8_0 = 8 };

// A matrix of `rows` outputs and `columns` inputs (a multiple of 32), y = W x.
//
// Layout: blocks of 16 rows, the last one padded with zeros (d = m = 0). A block is a list of units
// that are read from front to end, so that memory is one stream: a line of 64 bytes of scales, then
// the quants they belong to. With G = columns / 32 groups:
//   Q4_1        G units of 1 group: half d[16], half m[16], quants
//   Q4_0, Q8_0  (G + 1) / 2 units of 2 groups: half d[16] of the first group, half d[16] of the
//               second, quants of the first, quants of the second (zeros where G is odd)
// Quants of group g: Q4_1, Q4_0: uint8 [4][16][4], byte [j][row][i] holds column 32 g + 4 j + i in
//                    its low and column 32 g + 16 + 4 j + i in its high four bits (the GGUF
//                    block's byte 4 j + i as it is)
//                    Q8_0: uint8 [8][16][4], byte [j][row][i] is column 32 g + 4 j + i, the
//                    file's signed byte + 128 (that is, xor 0x80)
// Bytes of a block are a multiple of 64; `data` must be 64-byte aligned.
// lm_matrix_bytes() gives the size of the whole.
typedef struct {
    int32_t kind;
    int32_t rows;
    int32_t columns;
    int32_t reserved;
    const uint8_t* data;
} lm_matrix;

typedef struct {
    int32_t layers;
    int32_t hidden;        // multiple of 32
    int32_t intermediate;  // multiple of 32
    int32_t heads;
    int32_t kv_heads;      // divides heads
    int32_t head_dim;      // multiple of 32, at most 256; heads * head_dim a multiple of 32
    int32_t vocabulary;
    int32_t positions;     // rows of the rotary tables
    float norm_eps;
    float attention_scale;  // of q.k, normally 1 / sqrt(head_dim)
} lm_shape;

// Optional pointers may be null. Biases have one float for each row of their matrix.
typedef struct {
    lm_matrix q, k, v, o, gate, up, down;
    const float* input_norm;  // (hidden)
    const float* post_norm;   // (hidden), before the feed-forward part
    const float* q_norm;      // (head_dim) RMS norm of each head before rotation, optional
    const float* k_norm;      // (head_dim), optional
    const float *q_bias, *k_bias, *v_bias, *o_bias, *gate_bias, *up_bias, *down_bias;  // optional
    int32_t window;           // sliding window in columns, 0: none
    int32_t reserved;
} lm_layer;

typedef struct {
    lm_shape shape;
    const lm_layer* layers;
    lm_matrix embed;          // (vocabulary, hidden): rows are dequantised as the input
    lm_matrix head;           // (vocabulary, hidden): may be the same data as embed
    const float* final_norm;  // (hidden)
    const float* cosine;      // (positions, head_dim / 2), scaling included
    const float* sine;        // (positions, head_dim / 2)
} lm_model;

// A low-rank adapter, y += scale * B (A x). `rank` is a multiple of 16 (pad with zeros).
//   a      A in pieces of 192 columns (the last may be shorter), each laid out as a Q8_0 matrix of
//          `rank` rows and the piece's columns
//   b      int8 [rows16 / 16][rank / 2][16][2]: B[16 n + row][2 p + i] = steps[16 n + row] *
//          b[n][p][row][i], rows16 = rows rounded up to 16 (zeros)
//   steps  half [rows16]
// 64-byte aligned; all null where the adapter has no pair for the matrix. Factors may be scaled to
// lie well within a half: `scale` undoes that.
typedef struct {
    const uint8_t* a;
    const int8_t* b;
    const uint16_t* steps;
    float scale;
    int32_t reserved;
} lm_pair;

typedef struct {
    int32_t rank;
    int32_t reserved;
    const lm_pair* pairs;  // [layers][7]: q k v o gate up down
} lm_adapter;

// Keys and values of one sequence: lm_cache_bytes() bytes, 64-byte aligned, zeroed once by the
// caller (stale columns must be finite). `capacity` is a multiple of 16.
//   [layer][kv head], each capacity / 16 tiles of keys, then capacity / 16 tiles of values:
//   bf16 K [head_dim / 2][16][2]   k[p][column][i] = dimension 2 p + i
//   bf16 V [8][head_dim][2]        v[p][dimension][i] = column 2 p + i
typedef struct {
    int32_t capacity;
    int32_t reserved;
    uint8_t* data;
} lm_cache;

// T rows of one pass. Row t has tokens[t], rotary position positions[t], writes its key and value
// to column columns[t] of caches[slots[t]] and sees columns [0, prefixes[t]) and
// [starts[t], columns[t]] of it. Rows of one pass see each other where their columns say so.
// Rows of a sequence should be adjacent (rows with equal slot, prefix, start share work).
// The same logits, to the last bit, come out however a sequence is cut into passes, whatever else
// is in the pass and however many threads run. A branch (prefix > 0) equals the same tokens without
// branching where prefix and start are multiples of 16 (lm_cache_copy moves the rest of a prefix).
typedef struct {
    int32_t count;
    int32_t reserved;
    const int32_t *tokens, *positions, *slots, *columns, *prefixes, *starts;
} lm_rows;

// Nanoseconds of one pass, by kind of work (of the calling thread, waiting included).
typedef struct {
    int64_t total, project, attend, output, feed, head, other;
} lm_timings;

typedef struct lm_context lm_context;

LM_API int32_t lm_version(void);
// The last error of the calling thread, "" if none.
LM_API const char* lm_error(void);
// Names of the targets that run on this machine, best first, separated by spaces:
// of "avx512bf16 avx512 avx2 neon plain".
LM_API const char* lm_targets(void);
LM_API size_t lm_matrix_bytes(int32_t kind, int32_t rows, int32_t columns);
// out (columns) = row `row` of the matrix as floats: for tests.
LM_API int32_t lm_matrix_row(const lm_matrix* matrix, int32_t row, float* out);

// A context checks the model, keeps a copy of the structs (not of what they point to), owns the
// scratch memory and up to `threads` - 1 sleeping worker threads (made when first needed).
// target: a name of lm_targets(), null: the best. Null on failure.
LM_API lm_context* lm_new(const lm_model* model, const char* target, int32_t threads);
LM_API void lm_free(lm_context* context);
LM_API const char* lm_target(const lm_context* context);
// Tokens that a prefill pass does best with (a multiple of the register tile).
LM_API int32_t lm_chunk(const lm_context* context);

LM_API size_t lm_cache_bytes(const lm_context* context, int32_t capacity);
// Columns [start, end) as tiles: start is a multiple of 16, the last tile may be partly filled.
// Bytes: lm_cache_bytes(context, end - start rounded up to 16). write puts them at `start`.
LM_API int32_t lm_cache_read(const lm_context* context, const lm_cache* cache, int32_t start,
                             int32_t end, uint8_t* out);
LM_API int32_t lm_cache_write(const lm_context* context, const lm_cache* cache, int32_t start,
                              int32_t end, const uint8_t* block);
// Copies `count` columns, any alignment, not overlapping, inside a cache or between two.
LM_API int32_t lm_cache_copy(const lm_context* context, const lm_cache* source, int32_t from,
                             const lm_cache* target, int32_t to, int32_t count);

// One pass. logits: float (reads, stride), stride at least the vocabulary rounded up to 16 (what is
// beyond the vocabulary is undefined); row i belongs to row reads[i] of `rows`; reads may be 0.
// adapter and timings may be null. threads: at most what lm_new was given. One pass at a time for
// each context: a second caller waits.
LM_API int32_t lm_forward(lm_context* context, const lm_rows* rows, const lm_cache* caches,
                          int32_t cache_count, const int32_t* reads, int32_t read_count,
                          float* logits, size_t stride, const lm_adapter* adapter, int32_t threads,
                          lm_timings* timings);

#endif

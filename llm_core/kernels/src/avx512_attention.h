// Attention of the AVX-512 targets; included by avx512.h inside its anonymous namespace.

// A tile of 16 keys, or of their values.
inline size_t tile_halves(int dim) { return static_cast<size_t>(dim) * kKeys; }

void store(const float* k, const float* v, int dim, uint16_t* keys, uint16_t* values, int column) {
    uint16_t* tile = keys + column / kKeys * tile_halves(dim);
    values += static_cast<size_t>(column / 2) * dim * 2;
    const int lane = column % kKeys, odd = column % 2;
    for (int i = 0; i < dim; i += 16) {
        alignas(32) uint32_t pairs[8];
        _mm256_store_si256(reinterpret_cast<__m256i*>(pairs), narrow16(_mm512_loadu_ps(k + i)));
        for (int p = 0; p < 8; ++p) memcpy(tile + (i / 2 + p) * 32 + lane * 2, &pairs[p], 4);
        __m512i wide = _mm512_cvtepu16_epi32(narrow16(_mm512_loadu_ps(v + i)));
        if (odd) wide = _mm512_slli_epi32(wide, 16);
        _mm512_mask_storeu_epi16(values + i * 2, odd ? 0xaaaaaaaau : 0x55555555u, wide);
    }
}

// Scores of R query rows against C key tiles.
template <int R, int C>
inline void score(const lm::Attend& work, int row, int tile, float* scores) {
    const uint16_t* keys[C];
    for (int c = 0; c < C; ++c)
        keys[c] = work.keys + static_cast<size_t>(work.tiles[tile + c]) * tile_halves(work.dim);
    const uint16_t* q = work.q + static_cast<size_t>(row) * work.dim;
    __m512 acc[R][C];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) acc[r][c] = _mm512_setzero_ps();
    for (int p = 0; p < work.dim / 2; ++p) {
        __m512i k[C];
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) k[c] = _mm512_load_si512(keys[c] + p * 32);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            __m512i pair = load32(q + r * work.dim + 2 * p);
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) acc[r][c] = dot_pairs(acc[r][c], k[c], pair);
        }
    }
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int r = 0; r < R; ++r) {
        for (int c = 0; c < C; ++c) {
            __m512i at = _mm512_add_epi32(lanes, _mm512_set1_epi32((tile + c) * kKeys));
            __mmask16 seen = _mm512_cmpge_epi32_mask(at, _mm512_set1_epi32(work.from[row + r]));
            seen &= _mm512_cmplt_epi32_mask(at, _mm512_set1_epi32(work.to[row + r]));
            seen &= work.valid[tile + c];
            __m512 s = _mm512_mask_blend_ps(seen, _mm512_set1_ps(lm::kNone), acc[r][c]);
            _mm512_store_ps(scores + r * lm::kSplit * kKeys + (tile + c) * kKeys, s);
        }
    }
}

template <int R>
inline void score_rows(const lm::Attend& work, int row, int first, int last, float* scores) {
    int tile = first;
    // Few rows wait for memory, which is fastest when read from front to end.
    if (R > 3)
        for (; tile + 4 <= last; tile += 4) score<R, 4>(work, row, tile, scores);
    for (; tile < last; ++tile) score<R, 1>(work, row, tile, scores);
}

// Weights of one row from its scores, as bf16; its maximum and sum. False where it sees nothing.
inline bool weigh(const float* scores, int first, int last, uint16_t* weights, float* state) {
    __m512 most = _mm512_set1_ps(lm::kNone);
    for (int i = first; i < last; ++i)
        most = _mm512_max_ps(most, _mm512_load_ps(scores + i * kKeys));
    const float top = _mm512_reduce_max_ps(most);
    const __m512 none = _mm512_set1_ps(lm::kNone), shift = _mm512_set1_ps(top);
    __m512 sum = _mm512_setzero_ps();
    for (int i = first; i < last; ++i) {
        __m512 s = _mm512_load_ps(scores + i * kKeys);
        __mmask16 seen = _mm512_cmp_ps_mask(s, none, _CMP_GT_OQ);
        __m512 p = _mm512_maskz_mov_ps(seen, exp2_16(_mm512_sub_ps(s, shift)));
        sum = _mm512_add_ps(sum, p);
        _mm256_store_si256(reinterpret_cast<__m256i*>(weights + i * kKeys), narrow16(p));
    }
    state[0] = top;
    state[1] = _mm512_reduce_add_ps(sum);
    return top > lm::kNone;
}

// o (R rows, 16 C dimensions from `at`) = weights times values.
template <int R, int C>
inline void blend(const lm::Attend& work, int at, int first, int last, const uint16_t* weights,
                  float* o, size_t stride) {
    __m512 acc[R][C];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) acc[r][c] = _mm512_setzero_ps();
    for (int tile = first; tile < last; ++tile) {
        const uint16_t* values =
            work.values + static_cast<size_t>(work.tiles[tile]) * tile_halves(work.dim);
        for (int p = 0; p < kKeys / 2; ++p) {
            const uint16_t* row = values + (p * work.dim + at) * 2;
            __m512i v[C];
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) v[c] = _mm512_load_si512(row + 32 * c);
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
                __m512i pair = load32(weights + (r * lm::kSplit + tile) * kKeys + 2 * p);
#pragma GCC unroll 4
                for (int c = 0; c < C; ++c) acc[r][c] = dot_pairs(acc[r][c], v[c], pair);
            }
        }
    }
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) _mm512_storeu_ps(o + r * stride + at + 16 * c, acc[r][c]);
}

void merge(float* into, const float* other, int dim) {
    const float top = into[dim] > other[dim] ? into[dim] : other[dim];
    const __m512 mine = exp2_16(_mm512_set1_ps(into[dim] - top));
    const __m512 theirs = exp2_16(_mm512_set1_ps(other[dim] - top));
    for (int i = 0; i < dim; i += 16) {
        __m512 kept = _mm512_mul_ps(_mm512_loadu_ps(into + i), mine);
        _mm512_storeu_ps(into + i, _mm512_fmadd_ps(_mm512_loadu_ps(other + i), theirs, kept));
    }
    into[dim] = top;
    into[dim + 1] =
        into[dim + 1] * _mm512_cvtss_f32(mine) + other[dim + 1] * _mm512_cvtss_f32(theirs);
}

template <int R>
inline void attend_rows(const lm::Attend& work, int row) {
    alignas(64) float scores[R * lm::kSplit * kKeys];
    alignas(64) uint16_t weights[R * lm::kSplit * kKeys];
    alignas(64) float fresh[R * (256 + 16)];
    const int dim = work.dim;
    const size_t stride = lm::state_floats(dim);
    int from = work.count * kKeys, to = 0;
    for (int r = 0; r < R; ++r) {
        if (work.to[row + r] <= work.from[row + r]) continue;
        if (work.from[row + r] < from) from = work.from[row + r];
        if (work.to[row + r] > to) to = work.to[row + r];
    }
    const int first = from > 0 ? from / kKeys : 0;
    int last = (to + kKeys - 1) / kKeys;
    if (last > work.count) last = work.count;
    if (first >= last) return;
    score_rows<R>(work, row, first, last, scores);
    bool seen[R];
    for (int r = 0; r < R; ++r)
        seen[r] = weigh(scores + r * lm::kSplit * kKeys, first, last,
                        weights + r * lm::kSplit * kKeys, fresh + r * stride + dim);
    int at = 0;
    for (; at + 64 <= dim; at += 64) blend<R, 4>(work, at, first, last, weights, fresh, stride);
    for (; at < dim; at += 16) blend<R, 1>(work, at, first, last, weights, fresh, stride);
    for (int r = 0; r < R; ++r)
        if (seen[r]) merge(work.state + (row + r) * stride, fresh + r * stride, dim);
}

void attend(const lm::Attend& work) {
    int row = 0;
    for (; row + 6 <= work.rows; row += 6) attend_rows<6>(work, row);
    switch (work.rows - row) {
        case 5: attend_rows<5>(work, row); break;
        case 4: attend_rows<4>(work, row); break;
        case 3: attend_rows<3>(work, row); break;
        case 2: attend_rows<2>(work, row); break;
        case 1: attend_rows<1>(work, row); break;
        default: break;
    }
}

void finish(const float* state, int dim, float* out) {
    const __m512 sum = _mm512_set1_ps(state[dim + 1]);
    for (int i = 0; i < dim; i += 16)
        _mm512_storeu_ps(out + i, _mm512_div_ps(_mm512_loadu_ps(state + i), sum));
}

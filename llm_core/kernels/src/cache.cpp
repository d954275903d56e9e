// Packed matrices read back, and columns of caches moved about.
#include <cstring>

#include "context.h"

namespace lm {

float half_to_float(uint16_t bits) {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t exponent = bits >> 10 & 31u, fraction = bits & 1023u;
    uint32_t word;
    if (exponent == 31) {
        word = sign | 0x7f800000u | fraction << 13;
    } else if (exponent > 0) {
        word = sign | (exponent + 112) << 23 | fraction << 13;
    } else {
        float small = static_cast<float>(fraction) * 0x1p-24f;
        return sign ? -small : small;
    }
    float value;
    std::memcpy(&value, &word, 4);
    return value;
}

void read_row(const lm_matrix& matrix, int row, float* out) {
    const int lane = row % kBlock, groups = matrix.columns / kGroup;
    const uint8_t* block = matrix.data + row / kBlock * block_bytes(matrix.kind, matrix.columns);
    for (int g = 0; g < groups; ++g, out += kGroup) {
        uint16_t half[2] = {0, 0};
        const bool offset = matrix.kind == LM_Q4_1;
        const uint8_t* scales = block + scales_at(matrix.kind, g);
        const uint8_t* quants = block + quants_at(matrix.kind, g);
        std::memcpy(&half[0], scales + lane * 2, 2);
        if (offset) std::memcpy(&half[1], scales + 32 + lane * 2, 2);
        const float d = half_to_float(half[0]), m = half_to_float(half[1]);
        for (int c = 0; c < kGroup; ++c) {
            if (matrix.kind == LM_Q8_0) {
                int q = quants[(c / 4 * 16 + lane) * 4 + c % 4] - 128;
                out[c] = d * static_cast<float>(q);
            } else {
                int byte = quants[(c % 16 / 4 * 16 + lane) * 4 + c % 4];
                int q = c < 16 ? byte & 15 : byte >> 4;
                out[c] = offset ? d * static_cast<float>(q) + m : d * static_cast<float>(q - 8);
            }
        }
    }
}

namespace {

int check_columns(const lm_cache* cache, int start, int end) {
    if (cache == nullptr || start < 0 || end < start || end > cache->capacity) {
        fail("cache columns " + std::to_string(start) + " to " + std::to_string(end) +
             " lie outside its capacity");
        return -1;
    }
    return 0;
}

// One column of a key or a value head: pairs of dimensions lie side by side, or pairs of columns.
void copy_key(const uint16_t* from, int source, uint16_t* to, int target, int dim) {
    from += static_cast<size_t>(source / kKeys) * kKeys * dim + source % kKeys * 2;
    to += static_cast<size_t>(target / kKeys) * kKeys * dim + target % kKeys * 2;
    for (int p = 0; p < dim / 2; ++p) std::memcpy(to + p * 2 * kKeys, from + p * 2 * kKeys, 4);
}

void copy_value(const uint16_t* from, int source, uint16_t* to, int target, int dim) {
    from += static_cast<size_t>(source / 2) * dim * 2 + source % 2;
    to += static_cast<size_t>(target / 2) * dim * 2 + target % 2;
    for (int d = 0; d < dim; ++d) to[2 * d] = from[2 * d];
}

// Calls move(first column of the range) for the keys, then the values, of each layer and head.
template <class Move>
int32_t move_tiles(const lm_context* context, const lm_cache* cache, int start, int end,
                   size_t* bytes, Move&& move) {
    if (check_columns(cache, start, end)) return -1;
    if (start % kKeys) return fail("a block of a cache starts at a multiple of 16"), -1;
    const lm_shape& shape = context->model.shape;
    *bytes = context->head_bytes((end - start + kKeys - 1) / kKeys * kKeys);
    const size_t skipped = context->head_bytes(start) / 2;
    for (int layer = 0; layer < shape.layers; ++layer)
        for (int head = 0; head < shape.kv_heads; ++head) {
            move(context->keys(*cache, layer, head) + skipped);
            move(context->values(*cache, layer, head) + skipped);
        }
    return 0;
}

}  // namespace

}  // namespace lm

int32_t lm_cache_read(const lm_context* context, const lm_cache* cache, int32_t start, int32_t end,
                      uint8_t* out) {
    size_t bytes = 0;
    return lm::move_tiles(context, cache, start, end, &bytes, [&](const uint16_t* columns) {
        std::memcpy(out, columns, bytes);
        out += bytes;
    });
}

int32_t lm_cache_write(const lm_context* context, const lm_cache* cache, int32_t start,
                       int32_t end, const uint8_t* block) {
    size_t bytes = 0;
    return lm::move_tiles(context, cache, start, end, &bytes, [&](uint16_t* columns) {
        std::memcpy(columns, block, bytes);
        block += bytes;
    });
}

int32_t lm_cache_copy(const lm_context* context, const lm_cache* source, int32_t from,
                      const lm_cache* target, int32_t to, int32_t count) {
    if (lm::check_columns(source, from, from + count)) return -1;
    if (lm::check_columns(target, to, to + count)) return -1;
    const lm_shape& shape = context->model.shape;
    for (int layer = 0; layer < shape.layers; ++layer)
        for (int head = 0; head < shape.kv_heads; ++head)
            for (int i = 0; i < count; ++i) {
                lm::copy_key(context->keys(*source, layer, head), from + i,
                             context->keys(*target, layer, head), to + i, shape.head_dim);
                lm::copy_value(context->values(*source, layer, head), from + i,
                               context->values(*target, layer, head), to + i, shape.head_dim);
            }
    return 0;
}

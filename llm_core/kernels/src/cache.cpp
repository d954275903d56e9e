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

constexpr int kBytes = 64;  // of a tile for each dimension: 16 columns of K and V

int check_columns(const lm_cache* cache, int start, int end) {
    if (cache == nullptr || start < 0 || end < start || end > cache->capacity) {
        fail("cache columns " + std::to_string(start) + " to " + std::to_string(end) +
             " lie outside its capacity");
        return -1;
    }
    return 0;
}

// Where the key and value pairs of a column lie in its tile: offset of dimension 0 and step.
struct Place {
    size_t key, value;
};
Place place_of(int column, int dim) {
    size_t tile = static_cast<size_t>(column / kKeys) * dim * kBytes;
    int lane = column % kKeys;
    return {tile + static_cast<size_t>(lane) * 4,
            tile + static_cast<size_t>(dim) * 32 + static_cast<size_t>(lane / 2) * dim * 4 +
                static_cast<size_t>(lane % 2) * 2};
}

void copy_column(const uint8_t* from, int source, uint8_t* to, int target, int dim) {
    const Place a = place_of(source, dim), b = place_of(target, dim);
    for (int p = 0; p < dim / 2; ++p)
        std::memcpy(to + b.key + static_cast<size_t>(p) * kBytes,
                    from + a.key + static_cast<size_t>(p) * kBytes, 4);
    for (int d = 0; d < dim; ++d) std::memcpy(to + b.value + d * 4, from + a.value + d * 4, 2);
}

}  // namespace

}  // namespace lm

int32_t lm_cache_read(const lm_context* context, const lm_cache* cache, int32_t start, int32_t end,
                      uint8_t* out) {
    if (lm::check_columns(cache, start, end)) return -1;
    if (start % lm::kKeys) return lm::fail("a block of a cache starts at a multiple of 16"), -1;
    const lm_shape& shape = context->model.shape;
    const size_t bytes = context->head_bytes((end - start + lm::kKeys - 1) / lm::kKeys * lm::kKeys);
    for (int layer = 0; layer < shape.layers; ++layer)
        for (int head = 0; head < shape.kv_heads; ++head, out += bytes)
            std::memcpy(out, context->head_base(*cache, layer, head) + context->head_bytes(start),
                        bytes);
    return 0;
}

int32_t lm_cache_write(const lm_context* context, const lm_cache* cache, int32_t start,
                       int32_t end, const uint8_t* block) {
    if (lm::check_columns(cache, start, end)) return -1;
    if (start % lm::kKeys) return lm::fail("a block of a cache starts at a multiple of 16"), -1;
    const lm_shape& shape = context->model.shape;
    const size_t bytes = context->head_bytes((end - start + lm::kKeys - 1) / lm::kKeys * lm::kKeys);
    for (int layer = 0; layer < shape.layers; ++layer)
        for (int head = 0; head < shape.kv_heads; ++head, block += bytes)
            std::memcpy(context->head_base(*cache, layer, head) + context->head_bytes(start), block,
                        bytes);
    return 0;
}

int32_t lm_cache_copy(const lm_context* context, const lm_cache* source, int32_t from,
                      const lm_cache* target, int32_t to, int32_t count) {
    if (lm::check_columns(source, from, from + count)) return -1;
    if (lm::check_columns(target, to, to + count)) return -1;
    const lm_shape& shape = context->model.shape;
    for (int layer = 0; layer < shape.layers; ++layer)
        for (int head = 0; head < shape.kv_heads; ++head)
            for (int i = 0; i < count; ++i)
                lm::copy_column(context->head_base(*source, layer, head), from + i,
                                context->head_base(*target, layer, head), to + i, shape.head_dim);
    return 0;
}

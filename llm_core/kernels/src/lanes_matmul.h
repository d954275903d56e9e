// The product over blocks of rows, for targets that multiply half a block at a time.
//
// Included inside the target's own unnamed namespace, after its `multiply<Kind, N>(data, columns,
// half, tile, bias, add, y, stride)`: each target compiles a copy with its own instructions.

template <int Kind, int N>
void multiply_blocks(const lm_matrix& w, int first, int last, const uint8_t* tile,
                     const float* bias, bool add, float* y, size_t stride) {
    const size_t bytes = block_bytes(Kind, w.columns);
    for (int b = first; b < last; ++b) {
        const int at = kBlock * (b - first);
        for (int half = 0; half < 2; ++half) {
            multiply<Kind, N>(w.data + b * bytes, w.columns, half, tile, bias ? bias + at : bias,
                              add, y + at, stride);
        }
    }
}

template <int Kind>
void multiply_kind(const lm_matrix& w, int first, int last, const uint8_t* tile, int n,
                   const float* bias, bool add, float* y, size_t stride) {
    switch (n) {
        case 1: multiply_blocks<Kind, 1>(w, first, last, tile, bias, add, y, stride); break;
        case 2: multiply_blocks<Kind, 2>(w, first, last, tile, bias, add, y, stride); break;
        case 3: multiply_blocks<Kind, 3>(w, first, last, tile, bias, add, y, stride); break;
        default: multiply_blocks<Kind, 4>(w, first, last, tile, bias, add, y, stride); break;
    }
}

void matmul(const lm_matrix& w, int first, int last, const uint8_t* tile, int n,
            const float* bias, bool add, float* y, size_t stride) {
    if (w.kind == LM_Q4_1) {
        multiply_kind<LM_Q4_1>(w, first, last, tile, n, bias, add, y, stride);
    } else if (w.kind == LM_Q4_0) {
        multiply_kind<LM_Q4_0>(w, first, last, tile, n, bias, add, y, stride);
    } else {
        multiply_kind<LM_Q8_0>(w, first, last, tile, n, bias, add, y, stride);
    }
}

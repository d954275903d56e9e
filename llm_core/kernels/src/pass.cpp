// The layers of a pass: what is shared between threads, and in which order.
#include "pass.h"

#include <cstring>

#include "stage.h"

namespace lm {

Pass::Pass(Plan& plan, Walk& walk)
    : plan_(plan),
      walk_(walk),
      context_(*plan.context),
      shape_(context_.model.shape),
      target_(*context_.target),
      local_(context_.locals[walk.index()]),
      scratch_(context_.scratch),
      tile_(target_.tile),
      rank_(plan.adapter ? plan.adapter->rank : 0),
      wide_((shape_.heads + 2 * shape_.kv_heads) * shape_.head_dim),
      count_(plan.count),
      x_(scratch_.x.as<float>()),
      since_(Clock::now()) {}

void Pass::lap(int64_t lm_timings::* field) {
    if (plan_.timings == nullptr || walk_.index() != 0) return;
    auto now = Clock::now();
    plan_.timings->*field +=
        std::chrono::duration_cast<std::chrono::nanoseconds>(now - since_).count();
    since_ = now;
}

void Pass::run() {
    embed();
    lap(&lm_timings::other);
    for (int index = 0; index < shape_.layers; ++index) {
        last_ = index + 1 == shape_.layers;
        layer(index);
    }
    if (!plan_.reads.empty()) head();
    lap(&lm_timings::head);
}

void Pass::embed() {
    walk_.share(count_, [&](int begin, int end) {
        for (int t = begin; t < end; ++t)
            read_row(context_.model.embed, plan_.tokens[t],
                     x_ + static_cast<size_t>(t) * shape_.hidden);
    });
}

void Pass::layer(int index) {
    project_qkv(index);
    lap(&lm_timings::project);
    const bool unread = last_ && plan_.reads.empty();
    if (count_ > 1 || unread) {
        walk_.share(count_, [&](int begin, int end) {
            for (int t = begin; t < end; ++t) {
                float* row = scratch_.qkv.as<float>() + static_cast<size_t>(t) * wide_;
                const int dim = shape_.head_dim, group = context_.group();
                float* k = row + shape_.heads * dim;
                for (int head = 0; head < shape_.kv_heads; ++head) {
                    const size_t at = static_cast<size_t>(head) * count_ + t;
                    turn_queries(index, t, row + head * group * dim,
                                 scratch_.q.as<uint16_t>() + at * group * dim);
                    store_key(index, t, head, k + head * dim,
                              k + (shape_.kv_heads + head) * dim, local_.row.as<float>());
                }
            }
        });
    }
    if (unread) return;
    attend(index);
    lap(&lm_timings::attend);
    if (last_) gather_reads();
    const lm_layer& layer = context_.layers[index];
    const int dims = shape_.heads * shape_.head_dim;
    stage(
        index, 3, 4, dims,
        [&](int t, float*) {
            const int row = last_ ? plan_.reads[t] : t;
            return scratch_.attended.as<float>() + static_cast<size_t>(row) * dims;
        },
        shape_.hidden / kBlock,
        [&](int begin, int end, const uint8_t* tiles, const LowRank& low) {
            multiply(layer.o, 3, begin, end, tiles, low, layer.o_bias, true, x_, shape_.hidden);
        });
    lap(&lm_timings::output);
    feed(index);
    lap(&lm_timings::feed);
}

void Pass::project_qkv(int index) {
    const lm_layer& layer = context_.layers[index];
    const int q = layer.q.rows / kBlock, k = layer.k.rows / kBlock;
    float* out = scratch_.qkv.as<float>();
    stage(
        index, 0, 3, shape_.hidden,
        [&](int t, float* row) {
            const float* x = x_ + static_cast<size_t>(t) * shape_.hidden;
            target_.norm(x, layer.input_norm, shape_.norm_eps, shape_.hidden, row);
            return row;
        },
        q + 2 * k,
        [&](int begin, int end, const uint8_t* tiles, const LowRank& low) {
            const lm_matrix* matrices[3] = {&layer.q, &layer.k, &layer.v};
            const float* biases[3] = {layer.q_bias, layer.k_bias, layer.v_bias};
            const int starts[4] = {0, q, q + k, q + 2 * k};
            for (int i = 0; i < 3; ++i) {
                int first = begin > starts[i] ? begin : starts[i];
                int last = end < starts[i + 1] ? end : starts[i + 1];
                if (first < last)
                    multiply(*matrices[i], i, first - starts[i], last - starts[i], tiles, low,
                             biases[i], false, out + starts[i] * kBlock, wide_);
            }
        });
}

// Keeps only the rows that are read: nothing after the last layer's keys and values needs others.
void Pass::gather_reads() {
    const int reads = static_cast<int>(plan_.reads.size());
    const size_t bytes = sizeof(float) * shape_.hidden;
    float* kept = scratch_.kept.as<float>();
    count_ = reads;
    walk_.share(reads, [&](int begin, int end) {
        for (int i = begin; i < end; ++i)
            std::memcpy(kept + static_cast<size_t>(i) * shape_.hidden,
                        x_ + static_cast<size_t>(plan_.reads[i]) * shape_.hidden, bytes);
    });
    x_ = kept;
}

// Gate and up of groups [begin, end) of 32 columns, multiplied and quantised as input of down.
void Pass::gate_groups(const lm_layer& layer, int begin, int end, const uint8_t* tiles,
                       const LowRank& low) {
    const int groups = shape_.intermediate / kGroup, width = (end - begin) * kGroup;
    float *gate = local_.gate.as<float>(), *up = local_.up.as<float>();
    uint8_t* out = scratch_.wide.as<uint8_t>();
    for (int i = 0; i < this->tiles(); ++i) {
        const int n = in_tile(i);
        multiply_tile(layer.gate, 4, 2 * begin, 2 * end, tiles, i, low, layer.gate_bias, false,
                      gate, width);
        multiply_tile(layer.up, 5, 2 * begin, 2 * end, tiles, i, low, layer.up_bias, false, up,
                      width);
        target_.gated(gate, up, n * width, gate);
        uint8_t* records = out + (static_cast<size_t>(i) * tile_ * groups + begin * n) * kRecord;
        for (int t = 0; t < n; ++t)
            for (int g = 0; g < end - begin; ++g)
                target_.quantise(gate + t * width + g * kGroup, 1, records + g * n * kRecord, n, t);
    }
}

void Pass::feed(int index) {
    const lm_layer& layer = context_.layers[index];
    stage(
        index, 4, 6, shape_.hidden,
        [&](int t, float* row) {
            const float* x = x_ + static_cast<size_t>(t) * shape_.hidden;
            target_.norm(x, layer.post_norm, shape_.norm_eps, shape_.hidden, row);
            return row;
        },
        shape_.intermediate / kGroup,
        [&](int begin, int end, const uint8_t* tiles, const LowRank& low) {
            // One row reads long stretches of either matrix, several keep one group at hand.
            const int step = count_ == 1 ? kMaxTile / 2 : 1;
            for (int g = begin; g < end; g += step)
                gate_groups(layer, g, g + step < end ? g + step : end, tiles, low);
        });
    stage(
        index, 6, 7, shape_.intermediate, nullptr, shape_.hidden / kBlock,
        [&](int begin, int end, const uint8_t* tiles, const LowRank& low) {
            multiply(layer.down, 6, begin, end, tiles, low, layer.down_bias, true, x_,
                     shape_.hidden);
        });
}

// What quantising a row lost, in place.
void Pass::keep_rest(float* row, int columns) {
    uint8_t* tile = local_.rest.as<uint8_t>();
    target_.quantise(row, columns / kGroup, tile, 1, 0);
    for (int g = 0; g < columns / kGroup; ++g, tile += kRecord) {
        float scale;
        std::memcpy(&scale, tile + kGroup, 4);
        for (int c = 0; c < kGroup; ++c)
            row[g * kGroup + c] -= scale * static_cast<float>(static_cast<int8_t>(tile[c]));
    }
}

// Logits. Each row goes in twice, quantised and what that lost: the error of the head would be a
// quarter of the whole, and its weights are read only once for both.
void Pass::head() {
    const lm_matrix& w = context_.model.head;
    count_ *= 2;
    stage(
        -1, 0, 0, shape_.hidden,
        [&](int t, float* row) {
            const float* x = x_ + static_cast<size_t>(t / 2) * shape_.hidden;
            target_.norm(x, context_.model.final_norm, shape_.norm_eps, shape_.hidden, row);
            if (t % 2) keep_rest(row, shape_.hidden);
            return row;
        },
        (w.rows + kBlock - 1) / kBlock,
        [&](int begin, int end, const uint8_t* tiles, const LowRank& low) {
            for (int block = begin; block < end; block += 2)
                head_blocks(w, block, block + 2 < end ? block + 2 : end, tiles, low);
        });
}

void Pass::head_blocks(const lm_matrix& w, int first, int last, const uint8_t* tiles,
                       const LowRank& low) {
    float* sums = local_.gate.as<float>();
    for (int i = 0; i < this->tiles(); ++i) {
        multiply_tile(w, 0, first, last, tiles, i, low, nullptr, false, sums, 2 * kBlock);
        for (int t = 0; t < in_tile(i); t += 2) {
            float* out = plan_.logits + (i * tile_ + t) / 2 * plan_.stride + first * kBlock;
            for (int row = 0; row < (last - first) * kBlock; ++row)
                out[row] = sums[t * 2 * kBlock + row] + sums[(t + 1) * 2 * kBlock + row];
        }
    }
}

}  // namespace lm

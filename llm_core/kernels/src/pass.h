// One thread's walk through a pass over the model.
#ifndef LM_PASS_H
#define LM_PASS_H

#include <chrono>

#include "context.h"

namespace lm {

// The low-rank factors of the matrices of one stage, applied to its rows.
struct LowRank {
    const lm_pair* pairs = nullptr;  // of the layer
    uint8_t* u = nullptr;            // [stage's targets][rows], low_bytes(rank) each
    int first = 0, last = 0;         // the stage's targets
    int pieces = 0;                  // of the input's columns
};

class Pass {
public:
    Pass(Plan& plan, Walk& walk);
    void run();

private:
    using Clock = std::chrono::steady_clock;

    void embed();
    void layer(int index);
    void project_qkv(int index);
    void attend(int index);
    void gather_reads();
    void feed(int index);
    void head();
    void keep_rest(float* row, int columns);
    void head_blocks(const lm_matrix& w, int first, int last, const uint8_t* tiles,
                     const LowRank& low);
    void lap(int64_t lm_timings::* field);

    const lm_pair* pairs(int index, int first, int last) const;
    int tiles() const { return (count_ + tile_ - 1) / tile_; }
    int in_tile(int i) const { return count_ - i * tile_ < tile_ ? count_ - i * tile_ : tile_; }

    template <class Source>
    void quantise_rows(int begin, int end, int columns, uint8_t* tiles, Source&& source);
    template <class Source, class Units>
    void stage(int index, int first, int last, int columns, Source&& source, int units,
               Units&& work);
    template <class Prepare>
    void shrink(const LowRank& low, int columns, const uint8_t* tiles, Prepare&& prepare);
    void shrink_unit(const LowRank& low, int unit, int columns, const uint8_t* tiles);
    void settle(const LowRank& low);
    void add_pieces(int begin, int end, const LowRank& low);

    void multiply(const lm_matrix& w, int target, int first, int last, const uint8_t* tiles,
                  const LowRank& low, const float* bias, bool add, float* y, size_t stride);
    void multiply_tile(const lm_matrix& w, int target, int first, int last, const uint8_t* tiles,
                       int tile, const LowRank& low, const float* bias, bool add, float* y,
                       size_t stride);
    void gate_groups(const lm_layer& layer, int begin, int end, const uint8_t* tiles,
                     const LowRank& low);

    void turn_queries(int index, int t, float* q, uint16_t* out);
    void store_key(int index, int t, int head, const float* k, const float* v, float* row);
    void attend_splits(int index, const Query& query, int head, int first, int last,
                       const uint16_t* q, float* state);
    void attend_whole(int index, int unit);
    void attend_split(int index, int unit);
    void attend_alone(int index, int unit);
    void join_splits(int unit);
    void clear_state(float* state, int rows) const;
    void finish(const Query& query, int head, const float* state);

    Plan& plan_;
    Walk& walk_;
    lm_context& context_;
    const lm_shape& shape_;
    const Target& target_;
    Local& local_;
    Scratch& scratch_;
    const int tile_, rank_, wide_;  // wide: columns of q, k and v together
    int count_;                     // rows in work: all, or those read
    float* x_;                      // (count, hidden) residual stream
    bool last_ = false;             // in the last layer, where only rows that are read matter
    bool settled_ = true;           // whether u of the stage is complete
    Walk::Handed shrunk_{};         // the units that u is made of
    Clock::time_point since_;
};

}  // namespace lm

#endif

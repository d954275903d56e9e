// The C interface: contexts are checked and made, passes are planned and run.
#include <algorithm>
#include <cstring>
#include <new>

#include "pass.h"
#include "targets.h"

namespace lm {

namespace {

thread_local std::string error_text;

bool expect(bool holds, const char* what) {
    if (!holds) fail(what);
    return holds;
}

bool check_matrix(const lm_matrix& w, int rows, int columns, const char* name) {
    const bool known = w.kind == LM_Q4_0 || w.kind == LM_Q4_1 || w.kind == LM_Q8_0;
    const bool aligned = w.data && reinterpret_cast<uintptr_t>(w.data) % 64 == 0;
    if (known && aligned && w.rows == rows && w.columns == columns) return true;
    fail(std::string("matrix ") + name + ": expected " + std::to_string(rows) + " x " +
         std::to_string(columns) + " of a known kind at a 64-byte boundary, got " +
         std::to_string(w.rows) + " x " + std::to_string(w.columns) + " of kind " +
         std::to_string(w.kind));
    return false;
}

bool check_shape(const lm_shape& s) {
    return expect(s.layers > 0 && s.vocabulary > 0 && s.positions > 0, "the model is empty") &&
           expect(s.hidden > 0 && s.hidden % kGroup == 0, "hidden size: not a multiple of 32") &&
           expect(s.intermediate > 0 && s.intermediate % kGroup == 0,
                  "intermediate size: not a multiple of 32") &&
           expect(s.head_dim > 0 && s.head_dim % 32 == 0 && s.head_dim <= 256,
                  "head size: not a multiple of 32 up to 256") &&
           expect(s.kv_heads > 0 && s.heads % s.kv_heads == 0 &&
                      s.heads / s.kv_heads <= kMaxQueries,
                  "query heads are not a multiple of key heads");
}

bool check_layer(const lm_layer& layer, const lm_shape& s) {
    const int q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
    return check_matrix(layer.q, q, s.hidden, "q") && check_matrix(layer.k, kv, s.hidden, "k") &&
           check_matrix(layer.v, kv, s.hidden, "v") && check_matrix(layer.o, s.hidden, q, "o") &&
           check_matrix(layer.gate, s.intermediate, s.hidden, "gate") &&
           check_matrix(layer.up, s.intermediate, s.hidden, "up") &&
           check_matrix(layer.down, s.hidden, s.intermediate, "down") &&
           expect(layer.input_norm && layer.post_norm, "a layer lacks its norms");
}

bool check_model(const lm_model& model) {
    const lm_shape& s = model.shape;
    if (!check_shape(s)) return false;
    for (int i = 0; i < s.layers; ++i)
        if (!check_layer(model.layers[i], s)) return false;
    return check_matrix(model.embed, s.vocabulary, s.hidden, "embed") &&
           check_matrix(model.head, s.vocabulary, s.hidden, "head") &&
           expect(model.final_norm && model.cosine && model.sine, "the model lacks a table");
}

// Most columns that an input of a stage has.
int widest(const lm_shape& s) {
    return std::max({s.hidden, s.intermediate, s.heads * s.head_dim});
}

void make_locals(lm_context& context, int threads) {
    const lm_shape& s = context.model.shape;
    const int wide = widest(s);
    context.locals = std::vector<Local>(threads);
    for (Local& local : context.locals) {
        local.row.need<float>(wide);
        local.tile.need<uint8_t>(tile_bytes(wide, kPrivate));
        local.rest.need<uint8_t>(tile_bytes(wide, 1));
        local.u.need<uint8_t>(kTargets * kPrivate * low_bytes(kMaxRank));
        local.gate.need<float>(kMaxTile * kGroup);
        local.up.need<float>(kMaxTile * kGroup);
        local.q.need<uint16_t>(static_cast<size_t>(context.group()) * s.head_dim);
        local.state.need<float>(static_cast<size_t>(kMaxQueries) * state_floats(s.head_dim));
    }
}

void make_scratch(lm_context& context, const Plan& plan) {
    const lm_shape& s = context.model.shape;
    const size_t count = plan.count, dims = static_cast<size_t>(s.heads) * s.head_dim;
    Scratch& scratch = context.scratch;
    scratch.x.need<float>(count * s.hidden);
    scratch.kept.need<float>(plan.reads.size() * s.hidden);
    scratch.qkv.need<float>(count * (s.heads + 2 * s.kv_heads) * s.head_dim);
    scratch.q.need<uint16_t>(count * dims);
    scratch.attended.need<float>(count * dims);
    const int most = std::max(plan.count, 2 * static_cast<int>(plan.reads.size()));
    scratch.tile.need<uint8_t>(tile_bytes(widest(s), most));
    scratch.wide.need<uint8_t>(tile_bytes(s.intermediate, plan.count));
    if (plan.adapter) {
        const size_t pieces = (widest(s) + kLowPiece - 1) / kLowPiece;
        scratch.partial.need<float>(3 * pieces * count * plan.adapter->rank);
        scratch.u.need<uint8_t>(3 * count * low_bytes(plan.adapter->rank));
    }
    if (plan.split)
        scratch.state.need<float>(plan.queries.size() * s.kv_heads * plan.most_splits *
                                  kSplitRows * context.group() * state_floats(s.head_dim));
}

bool check_adapter(const lm_adapter* adapter) {
    return adapter == nullptr ||
           expect(adapter->pairs && adapter->rank > 0 && adapter->rank % 16 == 0 &&
                      adapter->rank <= kMaxRank,
                  "the rank of an adapter must be a multiple of 16 up to 256");
}

void walk_plan(void* plan, Walk& walk) { Pass(*static_cast<Plan*>(plan), walk).run(); }

}  // namespace

void fail(const std::string& message) { error_text = message; }

}  // namespace lm

int32_t lm_version(void) { return LM_API_VERSION; }

const char* lm_error(void) { return lm::error_text.c_str(); }

const char* lm_targets(void) {
    static const std::string names = lm::list_targets();
    return names.c_str();
}

size_t lm_matrix_bytes(int32_t kind, int32_t rows, int32_t columns) {
    return static_cast<size_t>((rows + lm::kBlock - 1) / lm::kBlock) *
           lm::block_bytes(kind, columns);
}

int32_t lm_matrix_row(const lm_matrix* matrix, int32_t row, float* out) {
    if (row < 0 || row >= matrix->rows) return lm::fail("no such row"), -1;
    lm::read_row(*matrix, row, out);
    return 0;
}

lm_context* lm_new(const lm_model* model, const char* target, int32_t threads) {
    const lm::Target* found = lm::find_target(target);
    if (found == nullptr) {
        lm::fail(std::string("target ") + target + " does not run here; these do: " + lm_targets());
        return nullptr;
    }
    if (!lm::check_model(*model)) return nullptr;
    try {
        threads = threads < 1 ? 1 : threads;
        auto context = std::make_unique<lm_context>();
        context->model = *model;
        context->layers.assign(model->layers, model->layers + model->shape.layers);
        context->model.layers = context->layers.data();
        context->target = found;
        context->pool = std::make_unique<lm::Pool>(threads);
        context->plans = std::vector<lm::Plan>(context->pool->slots());
        lm::make_locals(*context, threads);
        return context.release();
    } catch (const std::bad_alloc&) {
        lm::fail("not enough memory for the model's scratch space");
        return nullptr;
    }
}

void lm_free(lm_context* context) { delete context; }

const char* lm_target(const lm_context* context) { return context->target->name; }

int32_t lm_chunk(const lm_context* context) {
    const int tile = context->target->tile;
    return (256 + tile - 1) / tile * tile;
}

size_t lm_cache_bytes(const lm_context* context, int32_t capacity) {
    const int columns = (capacity + lm::kKeys - 1) / lm::kKeys * lm::kKeys;
    const lm_shape& shape = context->model.shape;
    return context->head_bytes(columns) * 2 * shape.layers * shape.kv_heads;
}

int32_t lm_forward(lm_context* context, const lm_rows* rows, const lm_cache* caches,
                   int32_t cache_count, const int32_t* reads, int32_t read_count, float* logits,
                   size_t stride, const lm_adapter* adapter, int32_t threads,
                   lm_timings* timings) {
    std::lock_guard<std::mutex> lock(context->mutex);
    const int blocks = (context->model.shape.vocabulary + lm::kBlock - 1) / lm::kBlock;
    if (read_count > 0 &&
        (logits == nullptr || stride < static_cast<size_t>(blocks) * lm::kBlock))
        return lm::fail("the rows of logits are too short"), -1;
    if (!lm::check_adapter(adapter)) return -1;
    if (rows->count < 1) return lm::fail("a pass needs at least one row"), -1;
    try {
        const int slot = context->pool->free_slot();
        lm::Plan& plan = context->plans[slot];
        if (!lm::make_plan(*context, *rows, caches, cache_count, reads, read_count, plan))
            return -1;
        plan.context = context;
        plan.logits = logits;
        plan.stride = stride;
        plan.timings = timings;
        plan.adapter = nullptr;
        if (adapter) {
            plan.adapter_copy = *adapter;
            plan.adapter = &plan.adapter_copy;
        }
        lm::make_scratch(*context, plan);
        if (timings) *timings = lm_timings{};
        const int most = context->pool->threads();
        const int phases = (context->model.shape.layers + 1) * lm::kPhasesPerLayer;
        context->pool->run(slot, std::clamp(threads, 1, most), phases, lm::walk_plan, &plan);
    } catch (const std::exception& error) {
        lm::fail(error.what());
        return -1;
    }
    if (timings)
        timings->total = timings->project + timings->attend + timings->output + timings->feed +
                         timings->head + timings->other;
    return 0;
}

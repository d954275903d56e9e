// Which targets run on this machine, best first.
#include "targets.h"

#include <cstring>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace lm {

bool has_dot_products() {
#if defined(__aarch64__) && defined(__linux__)
    return (getauxval(AT_HWCAP) & (1ul << 20)) != 0;  // HWCAP_ASIMDDP
#elif defined(__aarch64__) && defined(__APPLE__)
    return true;
#else
    return false;
#endif
}

namespace {

const Target* choose(int rank) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("f16c");
    const bool pairs = __builtin_cpu_supports("avx512bf16");
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("f16c");
    if (wide && pairs && rank-- == 0) return target_avx512bf16();
    if (wide && rank-- == 0) return target_avx512();
    if (avx2 && rank-- == 0) return target_avx2();
#elif defined(__aarch64__)
    if (has_dot_products() && rank-- == 0) return target_neon();
#endif
    return rank == 0 ? target_plain() : nullptr;
}

}  // namespace

const Target* find_target(const char* name) {
    for (int rank = 0;; ++rank) {
        const Target* target = choose(rank);
        if (target == nullptr || name == nullptr || std::strcmp(target->name, name) == 0)
            return target;
    }
}

std::string list_targets() {
    std::string names;
    for (int rank = 0; const Target* target = choose(rank); ++rank)
        names += std::string(rank ? " " : "") + target->name;
    return names;
}

}  // namespace lm

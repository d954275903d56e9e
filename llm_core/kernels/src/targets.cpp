// Which targets run on this machine, best first.
#include "targets.h"

#include <cstring>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <cpuid.h>
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

#if defined(__x86_64__)
bool converts_halves() {  // F16C, whose name __builtin_cpu_supports of older clang does not know
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & (1u << 29)) != 0;
}
#endif

const Target* choose(int rank) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vnni") && converts_halves();
    const bool pairs = __builtin_cpu_supports("avx512bf16");
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      converts_halves();
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

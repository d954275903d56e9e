#include "avx512.h"

const lm::Target* lm::target_avx512() { return &kTarget; }

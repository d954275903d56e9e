#define LM_BF16
#include "avx512.h"

const lm::Target* lm::target_avx512bf16() { return &kTarget; }

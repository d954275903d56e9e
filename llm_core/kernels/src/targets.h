#ifndef LM_TARGETS_H
#define LM_TARGETS_H

#include <string>

#include "target.h"

namespace lm {

// The target of that name, or the best for null; null where this machine cannot run it.
const Target* find_target(const char* name);
// Names of all targets that run here, best first, separated by spaces.
std::string list_targets();
// Whether an aarch64 machine has the dot product instructions.
bool has_dot_products();

}  // namespace lm

#endif

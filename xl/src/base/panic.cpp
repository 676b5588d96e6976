// SPDX-License-Identifier: MIT
//
// What a broken promise of our own does to xl and xld: a sentence and an abort.
#include <cstdio>
#include <cstdlib>

#include "hv/base/assert.hpp"

namespace hv {

void panic(const char* file, int line, const char* what)
{
    std::fprintf(stderr, "%s:%d: broken promise: %s\n", file, line, what);
    std::abort();
}

}  // namespace hv

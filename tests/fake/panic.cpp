// SPDX-License-Identifier: MIT
//
// The host builds' end of HV_ASSERT: says what broke and aborts, so that a death test can look for the sentence.
#include "hv/base/assert.hpp"

#include <cstdio>
#include <cstdlib>

void hv::panic(const char* file, int line, const char* what)
{
    std::fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, what);
    std::abort();
}

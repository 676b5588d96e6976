// SPDX-License-Identifier: MIT
//
// HV_ASSERT is for what we promised ourselves; it is on in every build.  What a guest, a module or an operator sent is
// never asserted: it is answered with an Error, a hypercall status or an injected exception.
#pragma once

namespace hv {

/// Stops the machine (hypervisor) or aborts the program (host builds).  Each build links exactly one definition.
[[noreturn]] void panic(const char* file, int line, const char* what);

}  // namespace hv

#define HV_ASSERT(condition)                                                                                 \
    do {                                                                                                     \
        if (!(condition)) [[unlikely]]                                                                       \
            ::hv::panic(__FILE_NAME__, __LINE__, #condition);                                                \
    } while (false)

#ifndef __FILE_NAME__
#define __FILE_NAME__ __FILE__
#endif

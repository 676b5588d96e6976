// SPDX-License-Identifier: MIT
//
// The module's end of HV_ASSERT: says what broke and stops at an undefined instruction, which ends the instance and not
// the machine.
#include "hv/base/assert.hpp"
#include "hv/ext/log.hpp"

[[noreturn]] void hv::panic(const char* file, int line, const char* what)
{
    ext::log(abi::LogLevel::error, file, ':', line, ": assertion failed: ", what);
    __builtin_trap();
}

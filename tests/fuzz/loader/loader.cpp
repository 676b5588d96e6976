// SPDX-License-Identifier: MIT
//
// Any bytes at all are a module file to somebody: the loader answers with a sentence, or with a module of which what it
// promises is true.
#include "module_promises.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    // A copy of exactly this size, so that a read past the file's end is a read past an allocation's.
    const auto copy = std::make_unique_for_overwrite<std::byte[]>(size);
    if (size != 0)
        __builtin_memcpy(copy.get(), data, size);
    hv::fuzz::judge_module({copy.get(), size});
    return 0;
}

// SPDX-License-Identifier: MIT
//
// Memory for images in a test process: mapped pages that seal really protects, so that a placed module can be
// run.
#pragma once

#include <sys/mman.h>

#include "hv/loader/module_memory.hpp"

namespace hv::test {

class MappedMemory final : public loader::ModuleMemory {
public:
    Expected<loader::Placement> reserve(const loader::ImageLayout& layout) override
    {
        void* const pages{
            mmap(nullptr, layout.bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)};
        if (pages == MAP_FAILED)
            return Error::no_memory;
        ++held;
        return loader::Placement{{static_cast<std::byte*>(pages), layout.bytes()},
                                 reinterpret_cast<std::uint64_t>(pages)};
    }
    Status seal(const loader::Placement& placement, const loader::ImageLayout& layout) override
    {
        if (refuse_to_seal)
            return Error::not_supported;
        std::byte* const base{placement.bytes.data()};
        const bool text = layout.text.bytes == 0 ||
                          mprotect(base + layout.text.offset, layout.text.bytes, PROT_READ | PROT_EXEC) == 0;
        const bool rodata = layout.rodata.bytes == 0 ||
                            mprotect(base + layout.rodata.offset, layout.rodata.bytes, PROT_READ) == 0;
        if (!text || !rodata)
            return Error::permission_denied;
        return Done{};
    }
    void release(const loader::Placement& placement, const loader::ImageLayout&) override
    {
        munmap(placement.bytes.data(), placement.bytes.size());
        --held;
    }

    int held{};
    bool refuse_to_seal{};
};

}  // namespace hv::test

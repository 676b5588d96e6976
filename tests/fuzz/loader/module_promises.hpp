// SPDX-License-Identifier: MIT
//
// What the loader promises of a module that it takes, asked of one in a fuzzer: hooks lie in text, every declared element can
// be read, nothing outside of the image is written (the sanitizers watch).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "hv/loader/load.hpp"

namespace hv::fuzz {

/// Memory of any content at a made-up address; nothing is run.
class HeapMemory final : public loader::ModuleMemory {
public:
    Expected<loader::Placement> reserve(const loader::ImageLayout& layout) override
    {
        bytes_ = std::make_unique<std::byte[]>(layout.bytes());
        return loader::Placement{{bytes_.get(), layout.bytes()}, 0xffff'9000'0000'0000};
    }
    Status seal(const loader::Placement&, const loader::ImageLayout&) override { return Done{}; }
    void release(const loader::Placement&, const loader::ImageLayout&) override { bytes_.reset(); }

private:
    std::unique_ptr<std::byte[]> bytes_;
};

inline void require(bool promise)
{
    if (!promise)
        std::abort();
}

inline void check_hooks(const loader::Module& module, const loader::Image& image)
{
    for (std::uint32_t hook = 0; hook < hv::abi::hook_count; ++hook) {
        std::uint64_t address{};
        __builtin_memcpy(&address,
                         reinterpret_cast<const std::byte*>(&image.hooks) + hv::abi::first_hook_offset +
                             hook * 8,
                         sizeof address);
        require((address != 0) == module.has_hook(hook));
        require(address == 0 || address - image.placement.address < image.layout.text.bytes);
        static_cast<void>(module.symbolise(image, address));
    }
}

inline void read_everything(const loader::Module& module)
{
    for (std::uint32_t index = 0; index < module.manifest().window_count; ++index)
        static_cast<void>(module.window(index));
    for (std::uint32_t index = 0; index < module.manifest().parameter_count; ++index)
        static_cast<void>(module.parameter(index));
    for (std::uint32_t index = 0; index < module.leaf_count(); ++index)
        static_cast<void>(module.leaf(index));
    for (std::uint32_t index = 0; index < module.msr_read_count(); ++index)
        static_cast<void>(module.msr_read(index));
    for (std::uint32_t index = 0; index < module.msr_write_count(); ++index)
        static_cast<void>(module.msr_write(index));
    for (std::uint32_t index = 0; index < module.exit_count(); ++index)
        static_cast<void>(module.exit(index));
}

/// Verifies the file; places and reads what was taken.  Aborts where a promise is broken.
inline void judge_module(std::span<const std::byte> file)
{
    loader::KeptDiagnostics diagnostics;
    static loader::Module module;
    if (!module.verify(file, {}, diagnostics)) {
        require(!diagnostics.text().empty());
        return;
    }
    static_cast<void>(module.facts());
    read_everything(module);
    hv::abi::HostTable host{};
    host.header = {hv::abi::host_table_magic, hv::abi::abi_major, hv::abi::abi_minor, sizeof host, 0};
    HeapMemory memory;
    const auto image = module.instantiate(memory, host);
    require(image.has_value());
    check_hooks(module, image.value());
}

}  // namespace hv::fuzz

// SPDX-License-Identifier: MIT
//
// The search for blocks of leaves, and the lines that every test guest begins with.
#include "interfaces.hpp"

#include <cstring>

#include "boot.hpp"
#include "console.hpp"
#include "machine.hpp"

namespace guest {
namespace {

constexpr std::uint32_t first_block{0x4000'0000};
constexpr std::uint32_t block_stride{0x100};

}  // namespace

bool hypervisor_present()
{
    return (cpuid(1).ecx >> 31) != 0;
}

std::optional<Block> block_at(std::uint32_t index)
{
    if (!hypervisor_present())
        return std::nullopt;
    const std::uint32_t base{first_block + index * block_stride};
    const CpuidResult leaf{cpuid(base)};
    if (leaf.ebx == 0 || leaf.eax < base || leaf.eax >= base + block_stride)
        return std::nullopt;
    Block block{base, leaf.eax, {}};
    std::memcpy(block.letters.data(), &leaf.ebx, 4);
    std::memcpy(block.letters.data() + 4, &leaf.ecx, 4);
    std::memcpy(block.letters.data() + 8, &leaf.edx, 4);
    return block;
}

std::optional<Block> find_block(std::string_view signature)
{
    for (std::uint32_t index = 0; index < searched_blocks; ++index)
        if (const auto block = block_at(index); block && block->signature() == signature)
            return block;
    return std::nullopt;
}

void say_begin(std::string_view name)
{
    print_line("guest: begin");
    fact("kernel", name);
    fact("command-line", command_line());
    fact("memory-kb", memory_kb());
    fact("hypervisor", hypervisor_present() ? "present" : "absent");
    const CpuidResult first{cpuid(first_block)};
    fact("cpuid-40000000", hv::Hex{first.eax, 8}, ' ', hv::Hex{first.ebx, 8}, ' ', hv::Hex{first.ecx, 8}, ' ',
         hv::Hex{first.edx, 8});
    for (std::uint32_t index = 0; index < searched_blocks; ++index)
        if (const auto block = block_at(index))
            fact("interface", block->signature(), " at ", hv::Hex{block->base}, " to ",
                 hv::Hex{block->maximum_leaf});
}

void say_end()
{
    print_line("guest: end");
}

}  // namespace guest

// SPDX-License-Identifier: MIT
//
// The hypervisor's own address space: see address_space.hpp.  Entries that become present later (devices,
// firmware tables, stacks) need no flush elsewhere: a processor keeps no translation of what was not present.
#include "hv/arch/x86/mm/address_space.hpp"

#include <atomic>
#include <new>

#include "hv/arch/x86/cpu/features.hpp"
#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/base/assert.hpp"
#include "hv/base/checked.hpp"
#include "hv/core/platform/platform.hpp"
#include "hv/core/sync/spinlock.hpp"

extern "C" const char image_begin[];
extern "C" const char image_text_begin[];
extern "C" const char image_text_end[];
extern "C" const char image_rodata_begin[];
extern "C" const char image_rodata_end[];
extern "C" const char image_data_begin[];
extern "C" const char image_end[];
extern "C" const char boot_stack[];
extern "C" const char boot_stack_top[];

namespace hv::x86 {

namespace {

constexpr std::uint64_t stack_slot_bytes{64 * 1024};
constexpr unsigned stack_kinds{5};

alignas(PageTables) constinit std::byte tables_storage[sizeof(PageTables)]{};
constinit PageTables* tables{nullptr};
constinit core::FrameAllocator* frame_source{nullptr};
constinit core::Ledger* frame_ledger{nullptr};
constinit const core::MemoryMap* machine_memory{nullptr};
constinit core::Spinlock lock{};

HostLinear linear(const char* symbol)
{
    return HostLinear{reinterpret_cast<std::uintptr_t>(symbol)};
}
HostLinear direct(HostPhysical physical)
{
    return HostLinear{direct_map_base + physical.raw()};
}
HostPhysical image_physical(const char* symbol)
{
    return HostPhysical{linear(symbol).raw() - image_base};
}

HostRange whole_pages(HostRange range)
{
    const std::uint64_t begin = align_down(range.begin.raw(), page_size);
    const std::uint64_t end = align_down(range.begin.raw() + range.bytes + page_mask, page_size);
    return {HostPhysical{begin}, end - begin};
}

/// Maps a part of the image at its linked address and sets the same right for its alias in the direct map,
/// which never is executable.
Status map_image_part(const char* begin, const char* end, PageAccess access)
{
    const std::uint64_t bytes = linear(end).raw() - linear(begin).raw();
    HV_TRY(tables->map(linear(begin), image_physical(begin), bytes, {.access = access}));
    const PageAccess alias = access == PageAccess::read_execute ? PageAccess::read_only : access;
    return tables->map(direct(image_physical(begin)), image_physical(begin), bytes, {.access = alias});
}

Status map_ram(const core::MemoryMap& memory)
{
    for (const core::E820Entry& entry : memory) {
        if (entry.type != core::E820Type::ram)
            continue;
        const HostRange range = whole_pages({HostPhysical{entry.begin}, entry.bytes});
        HV_TRY(
            tables->map(direct(range.begin), range.begin, range.bytes, {.access = PageAccess::read_write}));
    }
    return Done{};
}

/// False for a range that wraps or that the direct map has no room for.
bool in_direct_map(HostRange range)
{
    const auto end = range.begin.checked_add(range.bytes);
    return end && end->raw() <= direct_map_bytes - page_size &&
           end->raw() <= 1ull << features().physical_address_bits;
}

bool touches_ram(HostRange range)
{
    for (const core::E820Entry& entry : *machine_memory)
        if (entry.type == core::E820Type::ram && range.overlaps({HostPhysical{entry.begin}, entry.bytes}))
            return true;
    return false;
}

HostRange stack_range(unsigned processor, StackKind kind)
{
    const std::uint64_t bytes = kind == StackKind::main ? main_stack_bytes : exception_stack_bytes;
    const std::uint64_t slot = processor * stack_kinds + static_cast<unsigned>(kind);
    const std::uint64_t slot_base = stack_area_base + slot * stack_slot_bytes;
    return {HostPhysical{slot_base + stack_slot_bytes / 2}, bytes};  // in the middle of its slot
}

}  // namespace

HostRange image_range()
{
    return whole_pages({image_physical(image_begin), linear(image_end).raw() - linear(image_begin).raw()});
}

Status build_address_space(const core::MemoryMap& memory, core::FrameAllocator& frames, core::Ledger& ledger)
{
    machine_memory = &memory;
    frame_source = &frames;
    frame_ledger = &ledger;
    tables = new (tables_storage) PageTables{frames, ledger};
    HV_TRY(tables->create());
    HV_TRY(map_ram(memory));
    HV_TRY(map_image_part(image_text_begin, image_text_end, PageAccess::read_execute));
    HV_TRY(map_image_part(image_rodata_begin, image_rodata_end, PageAccess::read_only));
    HV_TRY(map_image_part(image_data_begin, image_end, PageAccess::read_write));
    HV_TRY(tables->reserve_top(HostLinear{module_area_base}, module_area_bytes));
    write_cr3(tables->root().raw());
    return Done{};
}

PageTables& host_page_tables()
{
    HV_ASSERT(tables != nullptr);
    return *tables;
}

Expected<void*> map_device(HostRange range)
{
    if (range.bytes == 0 || !in_direct_map(range) || touches_ram(range))
        return Error::invalid_argument;
    const core::LockGuard guard{lock};
    const HostRange pages = whole_pages(range);
    HV_TRY(tables->map(direct(pages.begin), pages.begin, pages.bytes,
                       {.access = PageAccess::read_write, .cache = CacheMode::uncached}));
    return reinterpret_cast<void*>(direct(range.begin).raw());
}

Expected<const void*> map_firmware(HostRange range)
{
    if (!in_direct_map(range))
        return Error::invalid_argument;
    const core::LockGuard guard{lock};
    const HostRange pages = whole_pages(range);
    for (std::uint64_t offset = 0; offset < pages.bytes; offset += page_size)
        if (!tables->translate(direct(pages.begin.plus(offset))))
            HV_TRY(tables->map(direct(pages.begin.plus(offset)), pages.begin.plus(offset), page_size,
                               {.access = PageAccess::read_only}));
    return reinterpret_cast<const void*>(direct(range.begin).raw());
}

Expected<std::uint64_t> map_stack(unsigned processor, StackKind kind)
{
    const core::LockGuard guard{lock};
    const HostRange range = stack_range(processor, kind);
    for (std::uint64_t offset = 0; offset < range.bytes; offset += page_size) {
        const HostPhysical frame = HV_TRY(frame_source->allocate(0, *frame_ledger));
        HV_TRY(tables->map(HostLinear{range.begin.raw() + offset}, frame, page_size, {}));
    }
    return range.begin.raw() + range.bytes;
}

bool on_a_stack(std::uint64_t address, std::uint64_t bytes)
{
    const auto boot = reinterpret_cast<std::uintptr_t>(boot_stack);
    const auto boot_top = reinterpret_cast<std::uintptr_t>(boot_stack_top);
    if (HostRange{HostPhysical{boot}, boot_top - boot}.contains(HostPhysical{address}, bytes))
        return true;
    const std::uint64_t area = stack_slot_bytes * stack_kinds * core::platform::maximum_processors;
    if (tables == nullptr || address < stack_area_base || address - stack_area_base >= area)
        return false;
    return tables->translate(HostLinear{address}).has_value() &&
           tables->translate(HostLinear{address + bytes - 1}).has_value();
}

Status map_start_page(HostPhysical page)
{
    return tables->map(HostLinear{page.raw()}, page, page_size, {.access = PageAccess::read_execute});
}

void unmap_start_page(HostPhysical page)
{
    const auto unmapped = tables->unmap(HostLinear{page.raw()}, page_size);
    HV_ASSERT(unmapped);  // it was mapped as one small page, so nothing had to be split
}

}  // namespace hv::x86

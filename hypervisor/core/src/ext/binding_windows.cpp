// SPDX-License-Identifier: MIT
//
// The windows of an instance at its bind: each at its place in the domain, with the tables of its declared
// answers, and in those what the module's own const tables declare.
#include "binding.hpp"
#include "hv/core/domain/virtual_pc.hpp"

namespace hv::core {
namespace {

bool was_granted(const Binding& binding, std::uint32_t window)
{
    for (const abi::WindowGrant& grant : std::span{binding.grants, binding.context.grant_count})
        if (grant.id == window)
            return grant.granted != 0;
    return false;
}

/// True where the domain has something that an MMIO window must not hide, or that would hide it.
bool touches_memory(const Domain& domain, std::uint64_t base, std::uint64_t length)
{
    constexpr std::uint64_t local_apic_page{0xfee0'0000};
    for (std::uint64_t offset = 0; offset < length; offset += page_size) {
        const GuestPhysical page{base + offset};
        if (domain.memory.is_ram(page) || domain.pc->owns(page) || page.raw() == local_apic_page)
            return true;
    }
    return false;
}

}  // namespace

Status Binding::open_windows(WindowMap& map, const PlannedWindows* planned, TextWriter& why)
{
    for (std::uint32_t index = 0; index < module.manifest().window_count; ++index) {
        const abi::WindowRequest request = module.verified().window(index);
        const PlannedWindows::Place place =
            planned != nullptr ? planned->places[index] : HV_TRY(PlannedWindows::choose(map, request, name(), why));
        grants[index] = {request.id, request.kind, 0, 0, 0, 0};
        if (place.granted)
            HV_TRY(grant_window(map, request, place.base, grants[index], why));
    }
    return Done{};
}

Status Binding::grant_window(WindowMap& map, const abi::WindowRequest& request, std::uint64_t base,
                             abi::WindowGrant& grant, TextWriter& why)
{
    if (request.kind == abi::WindowKind::mmio && touches_memory(domain, base, request.length)) {
        say(why, "extension '", name(), "' wants guest-physical addresses from ", Hex{base},
            ", where the domain has RAM or a device");
        return Error::conflict;
    }
    Window* const opened = HV_TRY(open_window(request, base, why));
    HV_TRY(map.enter(*opened, why));
    grant = {request.id, request.kind, 1, 0, opened->base, opened->length};
    return Done{};
}

Expected<Window*> Binding::open_window(const abi::WindowRequest& request, std::uint64_t base, TextWriter& why)
{
    auto made = make<Window>(heap);
    if (!made)
        return say_memory(why, made.error());
    Window* const opened = made.value().leak();
    opened->binding = this;
    opened->owner = name();
    opened->id = request.id;
    opened->kind = request.kind;
    opened->base = base;
    opened->length = request.length;
    opened->match = request.hypercall;
    HV_ASSERT(windows.push_back(opened));  // the loader takes no more
    auto tables =
        request.kind == abi::WindowKind::cpuid ? opened->leaves.create(heap, request.length) : Status{Done{}};
    if (request.kind == abi::WindowKind::msr) {
        tables = opened->reads.create(heap, request.length);
        tables = tables ? opened->writes.create(heap, request.length) : tables;
    }
    if (!tables)
        return say_memory(why, tables.error());
    return opened;
}

/// The const tables that the hook table names.
Status Binding::declare_constants(TextWriter& why)
{
    const loader::Module& file = module.verified();
    const auto each = [&](std::uint32_t count, auto element) -> Status {
        for (std::uint32_t index = 0; index < count; ++index) {
            const auto answer = element(index);
            if (!was_granted(*this, answer.window))
                continue;  // an optional window that could not be had
            if (const auto declared_one = declare(*this, std::span{&answer, 1}); !declared_one) {
                say(why, "extension '", name(),
                    "': a declared answer of its tables is refused: ", error_name(declared_one.error()));
                return declared_one.error();
            }
        }
        return Done{};
    };
    HV_TRY(each(file.leaf_count(), [&](std::uint32_t index) { return file.leaf(index); }));
    HV_TRY(each(file.msr_read_count(), [&](std::uint32_t index) { return file.msr_read(index); }));
    return each(file.msr_write_count(), [&](std::uint32_t index) { return file.msr_write(index); });
}

}  // namespace hv::core

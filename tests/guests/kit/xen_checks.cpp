// SPDX-License-Identifier: MIT
//
// Calls of Xen's interface that more than one guest makes.
#include "xen_checks.hpp"

#include "console.hpp"
#include "known_interfaces.hpp"
#include "machine.hpp"
#include "xen_abi.hpp"

namespace guest {
namespace {

std::uint64_t address_of(const void* object)
{
    return reinterpret_cast<std::uint64_t>(object);
}

}  // namespace

void check_xen_leaves(const Block& block)
{
    const std::uint32_t version{cpuid(block.base + xen::leaf_version).eax};
    const CpuidResult page{cpuid(block.base + xen::leaf_hypercall_page)};
    const CpuidResult hvm{cpuid(block.base + xen::leaf_hvm)};
    fact("xen-leaf-version", version >> 16, '.', version & 0xffff);
    fact("xen-page-msr", hv::Hex{page.ebx});
    fact("xen-tsc-khz", cpuid(block.base + xen::leaf_time).ecx);
    expect_equal("xen-pages", 1, page.eax);
    expect_equal("xen-vcpu-id", 0, (hvm.eax & xen::hvm_vcpu_id_present) != 0 ? hvm.ebx : ~0u);
}

void check_xen_version(std::uint64_t page, std::string_view name)
{
    char extra[16]{};
    const std::uint64_t version{xen_call(page, xen::xen_version, xen::XENVER_version)};
    const std::uint64_t status{xen_call(page, xen::xen_version, xen::XENVER_extraversion, address_of(extra))};
    if (status == 0)
        fact(name, version >> 16, '.', version & 0xffff, static_cast<const char*>(extra));
    else
        fact(name, "FAILED, version ", hv::Hex{version}, ", extra version's status ",
             static_cast<std::int64_t>(status));
}

void say_by_hypercall(std::uint64_t page, std::string_view name, std::string_view text)
{
    hv::BoundedText<200> line;
    hv::say(line, "guest: ", name, ": ", text, "\r\n");
    const std::uint64_t status{xen_call(page, xen::console_io, xen::CONSOLEIO_write, line.view().size(),
                                        address_of(line.view().data()))};
    if (status != 0)
        fact(name, "FAILED, ", static_cast<std::int64_t>(status));
}

void shut_down_by_hypercall(std::uint64_t page)
{
    const std::uint32_t reason{xen::SHUTDOWN_poweroff};
    const std::uint64_t status{xen_call(page, xen::sched_op, xen::SCHEDOP_shutdown, address_of(&reason))};
    fact("xen-shutdown", "FAILED, ", static_cast<std::int64_t>(status));
}

}  // namespace guest

// SPDX-License-Identifier: MIT
//
// The VP assist page: an overlay for each VCPU whose first word lets a guest do without most ends of
// interrupt.  Setting and taking back the bit is the core's, by a declared answer. Specification: [TLFS-6.0b
// §7.8.7, §10.3.5].
#include "hv/ext/guest_page.hpp"
#include "synic.hpp"

namespace hv::viridian {
namespace {

Status use_eoi_assist(std::uint64_t vcpu, std::uint64_t page)
{
    const abi::DeclaredEoiAssist assist{page, tlfs::eoi_assist_offset, tlfs::eoi_assist_bit};
    return ext::check(ext::host().declare_eoi_assist(vcpu, &assist));
}

void disable(Viridian::Vcpu& vcpu)
{
    if (vcpu.state().assist_page == 0)
        return;
    static_cast<void>(use_eoi_assist(vcpu.handle(), 0));
    static_cast<void>(ext::Overlay{vcpu.state().assist_page}.remove(vcpu.domain()));
}

/// Shows the page at `where`.  Beyond the guest's address space it is shown nowhere, and that is no error.
Status enable(Viridian::Vcpu& vcpu, ext::Overlay page, GuestPhysical where)
{
    const auto placed = page.place(vcpu.domain(), where, true);
    if (!placed && placed.error() == Error::invalid_argument) {
        disable(vcpu);
        return Done{};
    }
    HV_TRY(placed);
    // Where another extension of this guest has the assist already, the guest sees the bit clear and writes
    // EOI.
    static_cast<void>(use_eoi_assist(vcpu.handle(), page.page));
    return Done{};
}

}  // namespace

Status Viridian::write_assist(Vcpu& vcpu, std::uint32_t, std::uint64_t value)
{
    using Register = tlfs::PageRegister;
    HV_TRY(check_offered(vcpu, Feature::apic));
    if (!Register::Enable::get(value)) {
        disable(vcpu);
        vcpu.state().assist_register = value;
        return Done{};
    }
    const bool is_new{vcpu.state().assist_page == 0};
    const auto page =
        is_new ? HV_TRY(ext::Overlay::create(vcpu.domain())) : ext::Overlay{vcpu.state().assist_page};
    if (!Register::Enable::get(vcpu.state().assist_register))
        HV_TRY(page.view(vcpu.domain()).store<std::uint32_t>(tlfs::eoi_assist_offset, 0));
    if (const auto enabled = enable(vcpu, page, Register::page(value)); !enabled) {
        if (is_new)
            static_cast<void>(ext::host().overlay_destroy(vcpu.domain(), page.page));
        return enabled;
    }
    vcpu.state().assist_page = page.page;
    vcpu.state().assist_register = value;
    return Done{};
}

/// INIT: the page is off again, the controller and the timers too; what the VCPU asked for so far stays counted.
abi::Verdict Viridian::vcpu_reset(Vcpu& vcpu)
{
    disable(vcpu);
    vcpu.state().assist_register = 0;
    reset_stimers(vcpu);
    reset_synic(vcpu);
    return abi::done;
}

}  // namespace hv::viridian

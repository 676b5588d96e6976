// SPDX-License-Identifier: MIT
//
// Finds two interfaces in one guest and uses both: each by its own leaves and MSRs, each through its own
// hypercall page, one after the other and mixed, so that a call that ended at the wrong one would show.
#include "kit/console.hpp"
#include "kit/known_interfaces.hpp"
#include "kit/machine.hpp"
#include "kit/xen_checks.hpp"
#include "xen_abi.hpp"

namespace {

using namespace guest;

/// No such call: the answer is a status of that interface, and of no other [TLFS-6.0b appendix B].
constexpr std::uint64_t no_such_call{0x7777};
constexpr std::uint64_t invalid_hypercall_code{2};

void use_both()
{
    const OfferedMsrs msrs{viridian_msrs()};
    const auto viridian = enable_hypercalls(msrs);
    const auto xen = enable_xen_page();
    expect("viridian-hypercall-page", viridian.has_value());
    expect("xen-hypercall-page", xen.has_value());
    if (msrs.vp_index)
        expect("viridian-vp-index", read_msr(*msrs.vp_index) == 0u);
    if (msrs.reference_counter) {
        const auto before = read_msr(*msrs.reference_counter);
        fact("viridian-reference-time", before.value_or(0));
    }
    if (!viridian || !xen)
        return;
    for (unsigned round = 0; round < 100; ++round) {
        const std::uint64_t of_viridian{viridian->call(no_such_call) & 0xffff};
        const std::uint64_t of_xen{xen_call(*xen, xen::xen_version)};
        const std::uint64_t direct{xen_call(0, xen::xen_version)};
        if (of_viridian != invalid_hypercall_code || of_xen != xen::version_word ||
            direct != xen::version_word)
            return fact("both-pages", "FAILED in round ", round, ": ", hv::Hex{of_viridian}, ' ',
                        hv::Hex{of_xen}, ' ', hv::Hex{direct});
    }
    expect("both-pages", true);
    check_xen_version(*xen, "xen-version-by-page");
    say_by_hypercall(*xen, "xen-console", "ok");
}

}  // namespace

extern "C" void guest_main()
{
    say_begin("viridian-xen");
    const auto viridian = find_block(viridian_signature);
    const auto xen = find_block(xen_signature);
    fact("viridian", viridian ? "found" : "absent");
    fact("xen", xen ? "found" : "absent");
    if (viridian)
        expect_equal("viridian-block", 0x4000'0000, viridian->base);
    if (xen) {
        expect_equal("xen-block", 0x4000'0100, xen->base);
        check_xen_leaves(*xen);
    }
    if (viridian && xen)
        use_both();
    say_end();
}

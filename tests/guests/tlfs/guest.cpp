// SPDX-License-Identifier: MIT
//
// tlfs-conformance: prints what it sees of every leaf, MSR and hypercall of Microsoft's public specification, on any hypervisor that
// offers the interface, and judges nothing: scripts/conformance and tests/conformance do.  A number on its command line asks for so
// many random steps beside the reference model.  On a KVM, say:
//   qemu-system-x86_64 -enable-kvm -cpu host,hv-passthrough -kernel tlfs-conformance.elf -serial stdio -display none
#include "kit/boot.hpp"
#include "kit/console.hpp"
#include "kit/interfaces.hpp"
#include "kit/machine.hpp"
#include "tlfs/probes.hpp"

extern "C" void guest_main()
{
    using namespace guest;
    constexpr std::uint32_t interface_leaf{0x4000'0001}, interface_is_hv1{0x3123'7648};
    say_begin("tlfs-conformance");
    if (!hypervisor_present() || cpuid(interface_leaf).eax != interface_is_hv1) {
        fact("tlfs-conformance", "absent");
        return say_end();
    }
    print_line("tlfs: begin");
    const tlfs::Offer offer{tlfs::probe_leaves()};
    tlfs::probe_msrs(offer);
    tlfs::probe_pages(offer);
    tlfs::probe_hypercalls(offer);
    if (const auto steps = parse_number(command_word(0)))
        tlfs::probe_steps(offer, *steps);
    tlfs::probe_lock();
    print_line("tlfs: end");
    say_end();
}

// SPDX-License-Identifier: MIT
//
// What the manifest did not ask for is refused at the call: every service that needs a capability, called from a hook of a
// module that has all capabilities but that one.  It looks at nothing else before: the arguments are zero.
#include <cstring>
#include <set>

#include "extension_fixture.hpp"

namespace hv::test {
namespace {

struct Guarded {
    const char* name;
    std::uint64_t need;
    abi::Answer (*call)(const abi::HostTable& host, std::uint64_t domain);
};

template <auto Service>
abi::Answer call_with_zeros(const abi::HostTable& host, std::uint64_t)
{
    return []<typename... Parameters>(abi::Answer (*service)(Parameters...)) {
        return service(Parameters{}...);
    }(host.*Service);
}

/// The services of a page find their domain before they know which of the two needs its handle takes.
template <auto Service>
abi::Answer call_with_domain(const abi::HostTable& host, std::uint64_t domain)
{
    return [domain]<typename... Parameters>(abi::Answer (*service)(std::uint64_t, Parameters...)) {
        return service(domain, Parameters{}...);
    }(host.*Service);
}

#define GUARDED(service, need) {#service, abi::need, call_with_zeros<&abi::HostTable::service>}
constexpr std::uint64_t pages{abi::need_overlays | abi::need_pinned_pages};  // either of them is enough
#define OF_A_PAGE(service) {#service, pages, call_with_domain<&abi::HostTable::service>}

const Guarded guarded[]{
    GUARDED(registers_read, need_registers),
    GUARDED(registers_write, need_registers),
    GUARDED(vector_registers_read, need_vector_registers),
    GUARDED(vector_registers_write, need_vector_registers),
    GUARDED(inject_interrupt, need_injection),
    GUARDED(inject_nmi, need_injection),
    GUARDED(interrupt_window_request, need_injection),
    GUARDED(interrupt_watch, need_interrupt_watch),
    GUARDED(tlb_flush, need_tlb),
    GUARDED(guest_read, need_guest_memory),
    GUARDED(guest_write, need_guest_memory),
    GUARDED(guest_read_linear, need_guest_memory),
    GUARDED(guest_write_linear, need_guest_memory),
    GUARDED(translate, need_guest_memory),
    GUARDED(hypercall_page_place, need_overlays),
    GUARDED(overlay_create, need_overlays),
    GUARDED(overlay_place, need_overlays),
    GUARDED(overlay_remove, need_overlays),
    GUARDED(overlay_destroy, need_overlays),
    OF_A_PAGE(page_read),
    OF_A_PAGE(page_write),
    GUARDED(page_pin, need_pinned_pages),
    GUARDED(page_unpin, need_pinned_pages),
    OF_A_PAGE(page_load),
    OF_A_PAGE(page_store),
    OF_A_PAGE(page_exchange),
    OF_A_PAGE(page_compare_exchange),
    OF_A_PAGE(page_test_and_set),
    OF_A_PAGE(page_test_and_clear),
    GUARDED(allocate, need_allocation),
    GUARDED(release, need_allocation),
    GUARDED(vcpu_by_index, need_vcpus),
    GUARDED(vcpu_pause, need_vcpus),
    GUARDED(vcpu_unpause, need_vcpus),
    GUARDED(vcpu_kick, need_vcpus),
    GUARDED(vcpu_yield, need_vcpus),
    GUARDED(vcpu_block, need_vcpus),
    GUARDED(apic_read, need_vcpus),
    GUARDED(apic_write, need_vcpus),
    GUARDED(time_now, need_time),
    GUARDED(time_snapshot, need_time),
    GUARDED(timer_create, need_timers),
    GUARDED(timer_set, need_timers),
    GUARDED(timer_cancel, need_timers),
    GUARDED(timer_destroy, need_timers),
    GUARDED(domain_shutdown, need_domain),
    GUARDED(domain_reset, need_domain),
    GUARDED(domain_info, need_domain),
    GUARDED(console_write, need_domain),
    GUARDED(console_read, need_domain),
    GUARDED(channel_open, need_channel),
    GUARDED(channel_send, need_channel),
    GUARDED(channel_close, need_channel),
};
#undef GUARDED
#undef OF_A_PAGE

class Needs : public ExtensionTest {
protected:
    /// The puppet's file with another list of needs in its manifest.
    static std::vector<std::byte> puppet_with(std::uint64_t needs)
    {
        std::vector<std::byte> file{file_of("puppet-one")};
        for (std::size_t at = 0; at + sizeof(abi::Manifest) <= file.size(); at += 8) {
            abi::Manifest manifest;
            std::memcpy(&manifest, file.data() + at, sizeof manifest);
            if (manifest.header.magic != abi::manifest_magic || std::string_view{manifest.name} != "puppet-one")
                continue;
            std::memcpy(file.data() + at + offsetof(abi::Manifest, needs), &needs, sizeof needs);
            return file;
        }
        ADD_FAILURE() << "no manifest";
        return file;
    }
    Binding& bound_with(std::uint64_t needs)
    {
        const auto loaded = registry->load(puppet_with(needs), {}, "/lib/puppet.hvx", why);
        EXPECT_TRUE(loaded) << why.view();
        EXPECT_TRUE(ExtensionStack::bind(*domain, *loaded.value(), {}, options, why, field)) << why.view();
        return *domain->extensions->implementation().bindings.back();
    }
};

TEST_F(Needs, that_the_manifest_leaves_out_are_refused_at_the_call)
{
    std::set<std::uint64_t> needs;
    for (const Guarded& service : guarded)
        needs.insert(service.need);
    for (const std::uint64_t need : needs) {
        Binding& binding = bound_with(abi::provided_needs & ~need);
        from_hook(*binding.vcpus[0], [need](const abi::VcpuContext& context) {
            for (const Guarded& service : guarded)
                if (service.need == need) {
                    EXPECT_EQ(service.call(host(), context.domain), abi::status_permission_denied) << service.name;
                }
        });
        end_domain();
        ASSERT_TRUE(registry->unload("puppet-one", why)) << why.view();
        make_domain();
    }
}

}  // namespace
}  // namespace hv::test

// SPDX-License-Identifier: MIT
//
// The very .hvx of an extension, loaded into the test process, bound to a FakeHost and asked what a guest
// would ask: declared answers first, then hooks, as the hypervisor does.  It also holds the module to the
// ABI's rules: a verdict that says `unchanged` and a block that changed, or a domain's block written without
// domain_update_begin, is a failure.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fake_host.hpp"
#include "hv/loader/load.hpp"

namespace hv::test {

class ModuleUnderTest {
public:
    /// Loads FILE and grants its windows: fixed ones where they are, others at the first free place after
    /// `host`'s own.  `services` is what the module is given: the fake's, but for a test of the table itself.
    ModuleUnderTest(FakeHost& host, const std::string& file, std::uint32_t vcpus = 1,
                    const abi::HostTable& services = FakeHost::table());
    ~ModuleUnderTest();
    ModuleUnderTest(const ModuleUnderTest&) = delete;
    ModuleUnderTest& operator=(const ModuleUnderTest&) = delete;

    /// One value of `params`; call before create.  False: refused, see FakeHost::explained.
    bool parameter(const std::string& key, bool value);
    bool parameter(const std::string& key, std::int64_t value);
    bool parameter(const std::string& key, const std::string& value, std::uint32_t index = 0,
                   std::uint32_t count = 1);
    /// domain_create, hypercall pages, vcpu_initialise of each VCPU.  False: refused.
    bool create();
    void destroy();

    /// As the guest would: absolute leaf and MSR numbers.
    abi::CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0, std::uint32_t vcpu = 0);
    std::optional<std::uint64_t> read_msr(std::uint32_t msr, std::uint32_t vcpu = 0);  ///< nothing: #GP
    bool write_msr(std::uint32_t msr, std::uint64_t value, std::uint32_t vcpu = 0);    ///< false: #GP
    /// Matches the frame against the hypercall windows; `kind` inject with vector 6 where nobody takes it.
    abi::Verdict hypercall(abi::HypercallFrame& frame, std::uint32_t vcpu = 0);
    abi::Verdict hypercall_continue(abi::HypercallFrame& frame, std::uint32_t vcpu = 0);
    /// Fires an armed timer, whatever the time: injects, or calls the hook.
    abi::Verdict fire(std::uint64_t timer, std::uint64_t missed = 0);
    /// An exit of the guest, before or instead of the core, or after it: asks each subscription that it matches and that holds;
    /// the last verdict, or not_mine where none does.
    abi::Verdict exit(abi::ExitFrame& frame, bool after = false, std::uint32_t vcpu = 0);
    /// The guest has taken or ended an interrupt: the hook is called where the module watches the vector so.
    abi::Verdict interrupt_accepted(std::uint32_t vector, std::uint32_t vcpu = 0);
    abi::Verdict interrupt_ended(std::uint32_t vector, std::uint32_t vcpu = 0);
    /// As the scheduler would say it; the hook is called where the module has it and asks for need_run_states.
    abi::Verdict run_state_changed(abi::RunState from, abi::RunState to, std::uint64_t when_ns, std::uint32_t vcpu = 0);
    abi::Verdict reset_vcpu(std::uint32_t vcpu = 0);
    /// From the other end of a channel.
    abi::Verdict channel_message(std::uint64_t channel, const void* bytes, std::uint64_t length);
    /// After a kick.
    abi::Verdict before_entry(std::uint32_t vcpu = 0);
    abi::Verdict freeze();
    abi::Verdict thaw();

    [[nodiscard]] const abi::HookTable& hooks() const { return image_.hooks; }
    [[nodiscard]] const loader::Module& module() const { return *module_; }
    [[nodiscard]] const abi::WindowGrant& grant(std::uint32_t window) const;
    [[nodiscard]] abi::VcpuContext& vcpu(std::uint32_t index) { return vcpus_.at(index); }
    [[nodiscard]] abi::DomainContext& domain() { return domain_; }
    /// The last verdict of a hook.
    [[nodiscard]] abi::Verdict last() const { return last_; }

private:
    void grant_windows();
    bool set_parameter(const abi::Parameter& parameter);
    [[nodiscard]] const abi::WindowGrant* owner(abi::WindowKind kind, std::uint64_t number) const;
    [[nodiscard]] bool holds(std::uint32_t condition) const;
    [[nodiscard]] bool watches(std::uint32_t vector, std::uint32_t vcpu, std::uint32_t what) const;
    [[nodiscard]] std::uint64_t declared(const abi::DeclaredMsrRead& read, std::uint32_t vcpu) const;
    /// MsrWriteKind::deadline; false: the hook is to be asked.
    bool move_deadline(abi::DeadlinePlaces places, std::uint64_t value, std::uint32_t vcpu);
    /// Calls a hook, and checks the rules around it.  `vcpu` is nothing for a domain hook.
    template <typename Call>
    abi::Verdict call(std::optional<std::uint32_t> vcpu, Call hook);

    FakeHost& host_;
    std::vector<std::byte> file_;
    std::unique_ptr<loader::Module> module_;
    loader::Image image_{};
    std::vector<abi::WindowGrant> grants_;
    std::vector<std::uint64_t> domain_state_;
    std::vector<std::vector<std::uint64_t>> vcpu_states_;
    std::vector<abi::VcpuContext> vcpus_;
    abi::DomainContext domain_{};
    abi::Verdict last_{};
};

}  // namespace hv::test

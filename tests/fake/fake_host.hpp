// SPDX-License-Identifier: MIT
//
// The hypervisor as an extension sees it, in a host test: every service of the ABI over plain containers that
// a test fills and reads.  One at a time in a process, since services are plain functions.  It does what the
// ABI's comments say and no scheduling: a timer fires when the test says so.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "hv/abi/manifest.hpp"

namespace hv::test {

class FakeHost {
public:
    using PageBytes = std::array<std::uint8_t, 4096>;
    struct Page {
        bool overlay{};
        bool writable{};
        std::optional<std::uint64_t> gpa{};  ///< of an overlay that is placed, or of a pinned page
        PageBytes bytes{};                   ///< of an overlay
    };
    struct Timer {
        std::uint64_t vcpu{};
        std::uint64_t cookie{};
        std::optional<abi::TimerSetting> setting{};  ///< while armed
        std::optional<abi::TimerSetting> last{};     ///< as it was set last
    };
    struct Placed {
        std::uint64_t gpa{};
        std::uint32_t how{};
    };
    struct Injected {
        std::uint64_t vcpu{};
        std::uint32_t vector{};
        std::uint32_t how{};
    };
    struct Flush {
        std::optional<std::uint64_t> vcpus{};  ///< the first word of the mask, or nothing for all
        std::uint32_t how{};
    };
    struct Block {
        std::uint64_t vcpu{};
        std::uint32_t wake{};
        std::uint64_t deadline_ns{};
    };
    struct Channel {
        std::string name;
        bool heard{true};        ///< somebody is at the other end
        std::size_t room{1000};  ///< messages that wait there at most
        std::vector<std::vector<std::byte>> sent;
    };
    struct Shutdown {
        abi::ShutdownReason reason{};
        std::string text;
    };

    static constexpr std::uint64_t domain_handle{0xd000};
    static constexpr std::uint64_t vcpu_handle(std::uint32_t index) { return 0xc000 + index; }

    /// Becomes the one that the services act on.
    FakeHost();
    ~FakeHost();
    FakeHost(const FakeHost&) = delete;
    FakeHost& operator=(const FakeHost&) = delete;

    /// Every member is filled in.
    [[nodiscard]] static abi::HostTable table();

    /// Guest memory exists where a page was added; what lies over a page is what is read and written.
    void add_ram(std::uint64_t gpa, std::uint64_t bytes);
    /// The bytes that the guest sees at a page, or null where nothing is.
    [[nodiscard]] PageBytes* seen_at(std::uint64_t gpa);
    /// True where a page that guests cannot write, an overlay or a hypercall page, lies in the way.
    [[nodiscard]] bool is_read_only(std::uint64_t gpa, std::uint64_t length) const;
    bool copy(std::uint64_t gpa, void* own, std::uint64_t length, bool to_guest);
    [[nodiscard]] std::uint64_t guest_u64(std::uint64_t gpa);

    std::map<std::uint64_t, PageBytes> ram;
    std::map<std::uint64_t, Page> pages;
    std::map<std::uint64_t, Timer> timers;
    std::map<std::uint32_t, Placed> hypercall_pages_placed;
    std::map<std::uint32_t, PageBytes> hypercall_pages;  ///< filled by whoever calls the hook
    std::vector<abi::DeclaredLeaf> leaves;
    std::vector<abi::DeclaredMsrRead> msr_reads;
    std::vector<abi::DeclaredMsrWrite> msr_writes;
    std::map<std::uint64_t, abi::DeclaredEoiAssist> eoi_assists;  ///< by VCPU handle
    std::set<std::uint32_t> conditions;
    std::vector<Injected> injected;
    std::map<std::uint64_t, std::map<std::uint32_t, std::uint32_t>> watched;  ///< by VCPU handle and vector: watch_*
    std::vector<Flush> flushes;
    std::vector<std::uint64_t> kicked;
    std::vector<std::uint64_t> yielded;
    std::vector<Block> blocked;
    std::map<std::uint64_t, Channel> channels;
    std::map<std::uint64_t, std::array<std::byte, 256>> vectors;  ///< XMM0 to XMM15, by VCPU
    std::vector<std::string> log;
    std::string explained;
    std::vector<std::pair<std::string, std::string>> settled;  ///< key and value
    std::map<std::uint32_t, abi::CpuidResult> processor_leaves;  ///< all others are zeros
    std::string console_output;
    std::string console_input;
    std::optional<Shutdown> shutdown;
    bool reset_wanted{};
    std::map<std::uint64_t, std::map<std::uint32_t, std::uint64_t>> apic;  ///< by VCPU handle and register
    abi::GuestRegisters registers{};
    abi::DomainInfo info{};
    std::uint64_t now_ns{1'000'000'000};
    std::uint64_t tsc_hz{2'000'000'000};
    std::uint64_t wall_clock_ns{1'700'000'000'000'000'000};
    std::vector<std::uint8_t> hypercall_instruction{0x0f, 0x01, 0xd9};  ///< VMMCALL
    std::uint32_t vcpu_count{1};
    bool domain_update_held{};
    std::uint64_t next_handle{1};
};

}  // namespace hv::test

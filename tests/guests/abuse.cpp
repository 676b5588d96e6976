// SPDX-License-Identifier: MIT
//
// A guest that misbehaves as its command line says: `zero` jumps to address 0; `ud2` fills its memory with
// UD2 and runs it; `random-msr N` and `random-port N` access N registers or ports drawn at random;
// `apic-remap` moves and disables its local APIC; `svm` executes every SVM instruction; `cr4` sets the bits
// of CR4 whose features it is not shown; `triple` faults thrice; `halt` halts with interrupts off; `busy`
// computes for ever; `reboot` resets.  What comes back says what it met; nothing here is judged but what the
// architecture promises.
#include <algorithm>
#include <array>
#include <cstring>

#include "kit/apic.hpp"
#include "kit/boot.hpp"
#include "kit/console.hpp"
#include "kit/interfaces.hpp"
#include "kit/interrupts.hpp"
#include "kit/machine.hpp"

#include "hv/x86/control_registers.hpp"
#include "hv/x86/cpuid.hpp"
#include "hv/x86/msr.hpp"

namespace {

using namespace guest;
using hv::Hex;

constexpr std::uint32_t undefined_opcode{6};
constexpr std::uint32_t general_protection{13};

/// The same numbers at every run [Marsaglia, "Xorshift RNGs", 2003, §3].
class Random {
public:
    std::uint64_t next()
    {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return state_;
    }

private:
    std::uint64_t state_{0x9e37'79b9'7f4a'7c15};
};

void jump_to_zero()
{
    std::uint64_t zero{};
    asm volatile("" : "+r"(zero));
    reinterpret_cast<void (*)()>(zero)();
}

/// Moved below 1 MiB, so that it survives what it does: fills [begin, tables) and [behind, end) and goes to
/// `begin`.
extern "C" const std::uint8_t abuse_fill[];
extern "C" const std::uint8_t abuse_fill_end[];
asm(R"(
.section .rodata
abuse_fill:
    mov %rdi, %rbx
    mov %rsi, %rcx
    sub %rdi, %rcx
    shr $1, %rcx
    mov $0x0b0f, %eax
    rep stosw
    mov %rdx, %rdi
    mov %r8, %rcx
    sub %rdx, %rcx
    shr $1, %rcx
    rep stosw
    jmp *%rbx
abuse_fill_end:
.text
)");
extern "C" const std::uint8_t guest_page_tables_begin[];
extern "C" const std::uint8_t guest_page_tables_end[];

/// All memory from 1 MiB on is UD2, the interrupt table too, but for the page tables: they are what makes it
/// run.
[[noreturn]] void fill_with_ud2()
{
    constexpr std::uint64_t begin{0x10'0000};
    const std::uint64_t routine{0x8000};
    std::memcpy(reinterpret_cast<void*>(routine), abuse_fill,
                static_cast<std::size_t>(abuse_fill_end - abuse_fill));
    register std::uint64_t end asm("r8") = memory_end() & ~0xfffull;
    asm volatile("jmp *%[routine]" ::[routine] "r"(routine), "D"(begin), "S"(guest_page_tables_begin),
                 "d"(guest_page_tables_end), "r"(end)
                 : "memory");
    __builtin_unreachable();
}

/// Registers by which a guest ends or resets itself, as it should: long mode, the APIC and its INIT, and
/// Viridian's reset, ICR and crash.  Who draws them at random learns nothing of the rest.
bool leave_register_alone(std::uint32_t msr)
{
    constexpr std::array<std::uint32_t, 6> own_end{static_cast<std::uint32_t>(hv::x86::Msr::EFER),
                                                   static_cast<std::uint32_t>(hv::x86::Msr::APIC_BASE),
                                                   hv::x86::x2apic_msr(hv::x86::ApicRegister::ICR_LOW),
                                                   0x4000'0003,
                                                   0x4000'0071,
                                                   0x4000'0105};
    return std::ranges::find(own_end, msr) != own_end.end();
}

std::uint32_t random_msr(Random& random)
{
    const std::uint64_t draw{random.next()};
    const auto low = static_cast<std::uint32_t>(draw);
    switch (draw >> 61) {
    case 0: return low & 0x1fff;
    case 1: return 0x4000'0000 | (low & 0x1ff);
    case 2: return 0xc000'0000 | (low & 0x1fff);
    case 3: return 0xc001'0000 | (low & 0x1fff);
    case 4: return low & 0x3ff;
    default: return low;
    }
}

void random_msrs(std::uint64_t rounds)
{
    Random random;
    std::uint64_t refused{};
    for (std::uint64_t round = 0; round < rounds; ++round) {
        const std::uint32_t msr{random_msr(random)};
        const std::uint64_t value{random.next()};
        if (leave_register_alone(msr))
            continue;
        const bool accepted{(round & 1) != 0 ? write_msr(msr, value) : read_msr(msr).has_value()};
        refused += accepted ? 0 : 1;
    }
    fact("random-msr", rounds, " accesses, ", refused, " refused");
}

/// Ports that end the domain or that these lines are written through.
bool leave_port_alone(std::uint16_t port)
{
    const auto within = [&](unsigned first, unsigned count) {
        return port + 3u >= first && port < first + count;
    };
    return within(0x3f8, 8) || within(0x600, 12) || within(0xcf9, 1) || within(0x64, 1) || within(0x92, 1);
}

void random_ports(std::uint64_t rounds)
{
    Random random;
    std::uint64_t done{};
    for (std::uint64_t round = 0; round < rounds; ++round) {
        const std::uint64_t draw{random.next()};
        const auto port = static_cast<std::uint16_t>(draw);
        const auto value = static_cast<std::uint32_t>(draw >> 16);
        if (leave_port_alone(port))
            continue;
        ++done;
        switch (draw >> 61) {
        case 0: out8(port, static_cast<std::uint8_t>(value)); break;
        case 1: out16(port, static_cast<std::uint16_t>(value)); break;
        case 2: out32(port, value); break;
        case 3: static_cast<void>(in16(port)); break;
        case 4: static_cast<void>(in32(port)); break;
        default: static_cast<void>(in8(port)); break;
        }
    }
    fact("random-port", done, " accesses");
}

/// The registers hide the memory that they are moved onto, and leave it as it was.
void move_apic_onto_ram(std::uint64_t original)
{
    using hv::x86::ApicRegister;
    constexpr auto msr = static_cast<std::uint32_t>(hv::x86::Msr::APIC_BASE);
    constexpr std::uint64_t page{0x80'0000};  // beyond this guest's image
    constexpr std::uint32_t pattern{0x5eed'5eed};
    const auto address = [](ApicRegister which) { return page + static_cast<std::uint64_t>(which); };
    const std::uint32_t version{apic_read(ApicRegister::VERSION)};
    write_device(address(ApicRegister::VERSION), pattern);
    write_device(address(ApicRegister::TPR), pattern);
    write_device(page + 0x1000, pattern);
    expect("apic-moves-onto-ram", write_msr(msr, (original & ~hv::x86::ApicBase::address_mask) | page));
    expect("apic-hides-the-ram", read_device(address(ApicRegister::VERSION)) == version);
    expect("apic-leaves-its-old-place", apic_read(ApicRegister::VERSION) == 0xffff'ffff);
    expect("apic-has-no-neighbour", read_device(page + 0x1000) == pattern);
    write_device(address(ApicRegister::TPR), 0x30);
    expect("apic-takes-what-is-written-there", read_device(address(ApicRegister::TPR)) == 0x30);
    write_device(address(ApicRegister::TPR), 0);
    expect("apic-moves-back", write_msr(msr, original) && apic_read(ApicRegister::VERSION) == version);
    expect("apic-leaves-the-ram-as-it-was", read_device(address(ApicRegister::VERSION)) == pattern &&
                                                read_device(address(ApicRegister::TPR)) == pattern);
}

void remap_apic()
{
    using hv::x86::ApicBase;
    constexpr auto msr = static_cast<std::uint32_t>(hv::x86::Msr::APIC_BASE);
    const std::uint64_t original{read_msr(msr).value_or(0)};
    const std::uint64_t flags{original & ~ApicBase::address_mask};
    fact("apic-base", Hex{original});
    move_apic_onto_ram(original);
    for (const std::uint64_t base : {0x20'0000ull, 0xfed0'0000ull, 0xfee0'1000ull, 0xf'ffff'f000ull}) {
        const bool accepted{write_msr(msr, flags | base)};
        fact("apic-remap", Hex{base}, accepted ? " accepted, reads back " : " refused, reads back ",
             Hex{read_msr(msr).value_or(0)});
        if (accepted && base < 0x1'0000'0000)
            fact("apic-version-there", Hex{read_device(base + 0x30)});
        static_cast<void>(write_msr(msr, original));
    }
    fact("apic-version-here", Hex{apic_read(hv::x86::ApicRegister::VERSION)});
    fact("apic-disable", write_msr(msr, original & ~ApicBase::AE::mask) ? "accepted" : "refused");
    fact("apic-enable", write_msr(msr, original) ? "accepted" : "refused");
}

/// What the instructions would work on: an address that is not a page's raises another exception first
/// [APM3-3.35 "VMRUN"].
alignas(4096) std::uint8_t scratch_page[4096];

/// `name`: ok where the instruction raised #UD, as it must where EFER.SVME is clear [APM2-3.41 §15.4].
#define EXPECT_UNDEFINED(name, instruction)                                                                  \
    do {                                                                                                     \
        std::uint32_t faulted{};                                                                             \
        asm volatile(GUEST_FIXUP_BEGIN instruction GUEST_FIXUP_END                                           \
                     : [faulted] "+r"(faulted)                                                               \
                     : "a"(scratch_page), "c"(0)                                                             \
                     : "memory", "rbx", "rdx");                                                              \
        expect("svm-" name, faulted != 0 && last_fixed_vector() == undefined_opcode);                        \
    } while (false)

/// No interface in sight, or the plain machine's of Graft or QEMU.
bool nobody_takes_hypercalls()
{
    const auto block = block_at(0);
    return !block || block->signature() == "GraftGraftHV" || block->signature() == "TCGTCGTCGTCG";
}

void execute_svm()
{
    EXPECT_UNDEFINED("vmrun", "vmrun %%rax");
    EXPECT_UNDEFINED("vmload", "vmload %%rax");
    EXPECT_UNDEFINED("vmsave", "vmsave %%rax");
    EXPECT_UNDEFINED("stgi", "stgi");
    EXPECT_UNDEFINED("clgi", "clgi");
    EXPECT_UNDEFINED("skinit", "skinit %%eax");
    EXPECT_UNDEFINED("invlpga", "invlpga %%rax, %%ecx");
    if (nobody_takes_hypercalls())
        EXPECT_UNDEFINED("vmmcall", "vmmcall");  // elsewhere it may be somebody's hypercall
    const auto efer = static_cast<std::uint32_t>(hv::x86::Msr::EFER);
    const std::uint64_t before{read_msr(efer).value_or(0)};
    const bool accepted{write_msr(efer, before | hv::x86::Efer::SVME::mask)};
    fact("svm-enable", accepted ? "accepted" : "refused");
    static_cast<void>(write_msr(efer, before));
}

/// The vector that setting these bits of CR4 raised, or nothing; they are cleared again.
std::optional<std::uint32_t> set_control_4(std::uint64_t bits)
{
    std::uint64_t before{};
    std::uint32_t faulted{};
    asm volatile("mov %%cr4, %0" : "=r"(before));
    asm volatile(GUEST_FIXUP_BEGIN "mov %[value], %%cr4" GUEST_FIXUP_END
                 : [faulted] "+r"(faulted)
                 : [value] "r"(before | bits)
                 : "memory");
    if (faulted != 0)
        return last_fixed_vector();
    asm volatile("mov %0, %%cr4" ::"r"(before) : "memory");
    return std::nullopt;
}

/// A bit whose feature CPUID does not show is reserved: #GP, whatever the processor below has [APM2-3.41 §3.1.3].
void set_hidden_control_bits()
{
    using hv::x86::Cr4, hv::x86::CpuidLeaf, hv::x86::CpuidFeaturesEcx, hv::x86::CpuidStructuredEbx,
        hv::x86::CpuidStructuredEcx;
    const CpuidResult structured{cpuid(static_cast<std::uint32_t>(CpuidLeaf::structured_features))};
    const CpuidResult features{cpuid(static_cast<std::uint32_t>(CpuidLeaf::features))};
    const auto judge = [](std::string_view name, std::uint64_t bit, bool shown) {
        const auto vector = set_control_4(bit);
        expect(name, vector == (shown ? std::nullopt : std::optional{general_protection}));
    };
    judge("cr4-pcide", Cr4::PCIDE::mask, CpuidFeaturesEcx::PCID::get(features.ecx));
    judge("cr4-fsgsbase", Cr4::FSGSBASE::mask, CpuidStructuredEbx::FSGSBASE::get(structured.ebx));
    judge("cr4-smep", Cr4::SMEP::mask, CpuidStructuredEbx::SMEP::get(structured.ebx));
    judge("cr4-umip", Cr4::UMIP::mask, CpuidStructuredEcx::UMIP::get(structured.ecx));
    judge("cr4-pke", Cr4::PKE::mask, CpuidStructuredEcx::PKU::get(structured.ecx));
    judge("cr4-pks", Cr4::PKS::mask, CpuidStructuredEcx::PKS::get(structured.ecx));
    judge("cr4-cet", Cr4::CET::mask, false);
    judge("cr4-63", 1ull << 63, false);
}

[[noreturn]] void triple_fault()
{
    forget_all_handlers();
    asm volatile("ud2");
    __builtin_unreachable();
}

[[noreturn]] void compute_for_ever()
{
    for (;;)
        asm volatile("");
}

bool misbehave(std::string_view what, std::uint64_t number)
{
    if (what == "zero")
        jump_to_zero();
    else if (what == "ud2")
        fill_with_ud2();
    else if (what == "random-msr")
        random_msrs(number);
    else if (what == "random-port")
        random_ports(number);
    else if (what == "apic-remap")
        remap_apic();
    else if (what == "svm")
        execute_svm();
    else if (what == "cr4")
        set_hidden_control_bits();
    else if (what == "triple")
        triple_fault();
    else if (what == "halt")
        stop_for_good();
    else if (what == "busy")
        compute_for_ever();
    else if (what == "reboot")
        reboot();
    else
        return false;
    return true;
}

}  // namespace

extern "C" void guest_main()
{
    constexpr std::uint64_t default_rounds{1000};
    guest::say_begin("abuse");
    const std::string_view what{guest::command_word(0)};
    if (!misbehave(what, guest::parse_number(guest::command_word(1)).value_or(default_rounds)))
        guest::fact("abuse", "'", what,
                    "' is none of zero, ud2, random-msr N, random-port N, apic-remap, svm, cr4, triple, halt, "
                    "busy, reboot");
    guest::say_end();
}

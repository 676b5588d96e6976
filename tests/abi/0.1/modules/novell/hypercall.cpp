// SPDX-License-Identifier: MIT
//
// Hypercalls: the control word's checks, the two register conventions, and the three calls on address spaces.
// Specification: [TLFS-6.0b §3.7 to §3.9, §9.4].
#include <optional>

#include "novell_extension.hpp"

namespace novell {
namespace {

using Register = abi::GeneralRegister;
using Vcpu = Novell::Vcpu;

/// Without the registers: what a guest asks, wherever its mode has it.
struct Call {
    std::uint64_t control;
    std::uint64_t input;

    [[nodiscard]] std::uint16_t code() const
    {
        return static_cast<std::uint16_t>(control & control_code_mask);
    }
    [[nodiscard]] bool fast() const { return (control & control_fast) != 0; }
    [[nodiscard]] std::uint64_t count() const { return control >> control_count_shift & control_rep_mask; }
    [[nodiscard]] std::uint64_t start() const { return control >> control_start_shift & control_rep_mask; }
};

struct FlushInput {
    std::uint64_t address_space;
    std::uint64_t flags;
    std::uint64_t processors;  ///< bit n: VP index n
};

std::uint64_t paired(const abi::HypercallFrame& frame, Register high, Register low)
{
    return ext::reg(frame, high) << 32 | ext::reg(frame, low);
}

/// In 32-bit code EAX carries the low half of the control word, and with it the page's tag.
Call call_of(const abi::HypercallFrame& frame)
{
    if (frame.mode == abi::GuestMode::long_64)
        return {ext::reg(frame, Register::rcx), ext::reg(frame, Register::rdx)};
    return {paired(frame, Register::rdx, Register::rax) & ~call_tag_mask,
            paired(frame, Register::rbx, Register::rcx)};
}

void answer(abi::HypercallFrame& frame, std::uint64_t result)
{
    if (frame.mode == abi::GuestMode::long_64) {
        ext::reg(frame, Register::rax) = result;
    } else {
        ext::reg(frame, Register::rax) = result & 0xffff'ffff;
        ext::reg(frame, Register::rdx) = result >> 32;
    }
}

/// The input block in guest memory: aligned to 8 bytes and within one page.
template <typename Input>
std::uint16_t read_input(const Vcpu& vcpu, const Call& call, Input& input)
{
    constexpr std::uint64_t page_bytes{4096};
    if (call.input % 8 != 0 || call.input % page_bytes > page_bytes - sizeof(Input))
        return status_invalid_alignment;
    const auto found = vcpu.memory().read<Input>(GuestPhysical{call.input});
    if (!found)
        return status_invalid_parameter;
    input = found.value();
    return status_success;
}

/// The new CR3 in place of the old, and the translations of the old one gone but for global ones.
std::uint16_t switch_address_space(Vcpu& vcpu, const Call& call)
{
    constexpr std::uint64_t address_mask{0x000f'ffff'ffff'f000};
    constexpr std::uint64_t low_bits{0xfff};
    std::uint64_t space{call.input};
    if (!call.fast())
        if (const std::uint16_t status = read_input(vcpu, call, space); status != status_success)
            return status;
    if ((space & ~(address_mask | low_bits)) != 0)
        return status_invalid_parameter;
    abi::GuestRegisters registers;
    if (!ext::check(ext::host().registers_read(vcpu.handle(), abi::registers_control, &registers)))
        return status_invalid_parameter;
    registers.cr3 = space;
    if (!ext::check(ext::host().registers_write(vcpu.handle(), abi::registers_control, &registers)))
        return status_invalid_parameter;
    std::array<std::uint64_t, 1> self{};
    const bool in_mask{vcpu.index() < 64};
    if (in_mask)
        self[0] = std::uint64_t{1} << vcpu.index();
    const auto flushed = ext::host().tlb_flush(vcpu.domain(), in_mask ? self.data() : nullptr,
                                               in_mask ? 1 : 0, abi::flush_non_global);
    return ext::check(flushed) ? status_success : status_invalid_parameter;
}

std::uint16_t flush(Vcpu& vcpu, const Call& call, bool list)
{
    FlushInput input{};
    if (call.fast())
        return status_invalid_input;
    if (const std::uint16_t status = read_input(vcpu, call, input); status != status_success)
        return status;
    if ((input.flags & ~flush_known_flags) != 0)
        return status_invalid_parameter;
    const bool every{(input.flags & flush_all_processors) != 0};
    // A list may name global pages; to flush more than it names is allowed.
    const bool keep_global{!list && (input.flags & flush_non_global_only) != 0};
    const auto flushed =
        ext::host().tlb_flush(vcpu.domain(), every ? nullptr : &input.processors, every ? 0 : 1,
                              keep_global ? abi::flush_non_global : abi::flush_all);
    return ext::check(flushed) ? status_success : status_invalid_parameter;
}

/// Simple calls have neither count nor start; in a rep call the first rep to do is among those there are.
bool rep_fields_fit(const Call& call, bool rep)
{
    return rep ? call.start() < call.count() : call.start() == 0 && call.count() == 0;
}

/// The result value: status in bits 15..0, reps completed in bits 43..32.
std::uint64_t serve(Vcpu& vcpu, const Call& call)
{
    const bool rep{call.code() == call_flush_address_list};
    if (call.code() < call_switch_address_space || call.code() > call_flush_address_list)
        return status_invalid_code;
    if ((call.control & control_reserved) != 0 || !rep_fields_fit(call, rep))
        return status_invalid_input;
    if (call.code() == call_switch_address_space)
        return switch_address_space(vcpu, call);
    const std::uint16_t status{flush(vcpu, call, rep)};
    const std::uint64_t completed{rep && status == status_success ? call.count() : 0};
    return status | completed << control_count_shift;
}

}  // namespace

/// Without its page, enabled, the interface is not there, and the call may be another's.
abi::Verdict Novell::hypercall(Vcpu& vcpu, abi::HypercallFrame& frame)
{
    if ((__atomic_load_n(&vcpu.domain_state().hypercall, __ATOMIC_RELAXED) & hypercall_enable) == 0)
        return abi::not_mine;
    answer(frame, serve(vcpu, call_of(frame)));
    return abi::done_unchanged;
}

}  // namespace novell

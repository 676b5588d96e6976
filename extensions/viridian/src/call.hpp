// SPDX-License-Identifier: MIT
//
// A hypercall taken out of a caller's registers, and its result put back: 64-bit callers, and 32-bit ones,
// whose words are spread over register pairs.  Registers alone; what a call does is hypercall.cpp's.
// Specification: [TLFS-6.0b §3.7, §3.8, §3.9].
#pragma once

#include "hv/ext/hypercall_table.hpp"
#include "tlfs_hypercall.hpp"

namespace hv::viridian {

/// The hypercall page sets this bit of EAX, by which its calls are told from those of other interfaces in the
/// same guest. For a 32-bit caller it is a reserved bit of the input value, and cleared again.
inline constexpr std::uint64_t page_mark{0x8000'0000};

/// The words of a call: input value, and two parameters or the addresses of parameters.
struct Call {
    std::uint64_t control{};
    std::uint64_t input{};
    std::uint64_t output{};
    friend constexpr bool operator==(const Call&, const Call&) = default;

    [[nodiscard]] constexpr std::uint16_t code() const { return tlfs::InputValue::CallCode::get(control); }
    [[nodiscard]] constexpr bool fast() const { return tlfs::InputValue::Fast::get(control); }
    [[nodiscard]] constexpr std::uint32_t variable_words() const
    {
        return tlfs::InputValue::VariableHeaderSize::get(control);
    }
    [[nodiscard]] constexpr std::uint32_t rep_count() const
    {
        return tlfs::InputValue::RepCount::get(control);
    }
    [[nodiscard]] constexpr std::uint32_t rep_start() const
    {
        return tlfs::InputValue::RepStartIndex::get(control);
    }
};

struct Outcome {
    tlfs::HvStatus status{};
    std::uint32_t reps_completed{};
    friend constexpr bool operator==(const Outcome&, const Outcome&) = default;
};

constexpr Call call_of(const abi::HypercallFrame& frame)
{
    using R = abi::GeneralRegister;
    if (frame.mode == abi::GuestMode::long_64)
        return {ext::reg(frame, R::rcx), ext::reg(frame, R::rdx), ext::reg(frame, R::r8)};
    const auto pair = [&](R high, R low) {
        return ext::reg(frame, high) << 32 | (ext::reg(frame, low) & 0xffff'ffff);
    };
    return {pair(R::rdx, R::rax) & ~page_mark, pair(R::rbx, R::rcx), pair(R::rdi, R::rsi)};
}

/// The result, and for a 64-bit rep call the new rep start index in RCX.
constexpr void put_result(abi::HypercallFrame& frame, const Call& call, const Outcome& outcome)
{
    using R = abi::GeneralRegister;
    std::uint64_t result{static_cast<std::uint64_t>(outcome.status)};
    result = tlfs::ResultValue::RepsCompleted::set(result, outcome.reps_completed);
    if (frame.mode != abi::GuestMode::long_64) {
        ext::reg(frame, R::rax) = result & 0xffff'ffff;
        ext::reg(frame, R::rdx) = result >> 32;
        return;
    }
    ext::reg(frame, R::rax) = result;
    if (outcome.reps_completed != 0)
        ext::reg(frame, R::rcx) = tlfs::InputValue::RepStartIndex::set(call.control, outcome.reps_completed);
}

/// What the input value of a call may say.
struct CallForm {
    std::uint16_t code;
    std::uint32_t header_bytes;   ///< of fixed input, a multiple of 8
    std::uint32_t element_bytes;  ///< of one element of a rep call's list; 0 for a simple call
    std::uint32_t variable_words{};  ///< at most, in the variable part of its header
    std::uint32_t output_bytes{};    ///< of its output, in memory: registers have room for none

    [[nodiscard]] constexpr bool is_rep() const { return element_bytes != 0; }

    /// The rules that all calls share on the input value; bits for reps are zero in a simple call.
    [[nodiscard]] constexpr bool allows(const Call& call) const
    {
        if ((call.control & tlfs::InputValue::reserved) != 0 || call.variable_words() > variable_words)
            return false;
        if (call.fast() && (output_bytes != 0 || input_bytes(call) > tlfs::longest_fast_input_bytes))
            return false;
        if (is_rep())
            return call.rep_count() > call.rep_start();
        return call.rep_count() == 0 && call.rep_start() == 0;
    }
    /// Of fixed and variable header.
    [[nodiscard]] constexpr std::uint64_t all_header_bytes(const Call& call) const
    {
        return header_bytes + std::uint64_t{8} * call.variable_words();
    }
    [[nodiscard]] constexpr std::uint64_t input_bytes(const Call& call) const
    {
        return all_header_bytes(call) + std::uint64_t{element_bytes} * call.rep_count();
    }
};

/// Aligned, and all in one page.
constexpr bool is_placed_well(std::uint64_t address, std::uint64_t bytes)
{
    return address % 8 == 0 && address % 4096 + bytes <= 4096;
}

}  // namespace hv::viridian

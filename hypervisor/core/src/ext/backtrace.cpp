// SPDX-License-Identifier: MIT
#include "backtrace.hpp"

#include <algorithm>
#include <cstring>

#include "binding.hpp"

namespace hv::core {
namespace {

constexpr unsigned stack_register{4};
constexpr unsigned frame_register{5};
constexpr std::uint64_t word_bytes{sizeof(std::uint64_t)};
constexpr std::uint64_t longest_call{7};

class Walk {
public:
    Walk(const Binding& binding, const Seat& seat, const platform::HookFault& fault, std::span<ReportFrame> frames)
        : binding_{binding},
          text_{binding.image.placement.address + binding.image.layout.text.offset},
          stack_{binding.isolated == nullptr ? platform::last_hook_stack() : platform::HookStack{}},
          top_{binding.isolated == nullptr ? stack_.top : seat.stack + word_bytes},
          fault_{fault},
          frames_{frames}
    {
    }

    std::uint32_t run()
    {
        const std::uint64_t stack = fault_.general[stack_register];
        add(fault_.rip, 0, false);
        // The caller of a function without a frame of its own: a leaf, or one that a stray call invented.
        const std::uint64_t frame = fault_.general[frame_register];
        const bool bare = is_return_address(word_at(stack)) && frame + word_bytes != stack;
        if (bare)
            add(word_at(stack), 1, true);
        const std::uint64_t end = follow_frames(frame, stack);
        if (end != 0)
            search(bare && end == stack ? stack + word_bytes : end);
        return count_;
    }

private:
    [[nodiscard]] bool in_text(std::uint64_t address) const
    {
        return address - text_ < binding_.image.layout.text.bytes;
    }
    /// Zero where there is none: no return address, and the end of a chain.
    [[nodiscard]] std::uint64_t word_at(std::uint64_t address) const
    {
        std::uint64_t word{};
        const std::byte* const own = binding_.isolated != nullptr ? binding_.isolated->reach(address, sizeof word, false)
                                                                  : on_kept_stack(address, sizeof word);
        if (own != nullptr)
            std::memcpy(&word, own, sizeof word);
        return word;
    }
    [[nodiscard]] const std::byte* on_kept_stack(std::uint64_t address, std::uint64_t bytes) const
    {
        const std::uint64_t offset = address - stack_.address;
        return offset < stack_.bytes.size() && bytes <= stack_.bytes.size() - offset ? stack_.bytes.data() + offset : nullptr;
    }
    /// CALL rel32, or CALL through a register or memory with any addressing [APM3-3.35 "CALL (Near)"].
    [[nodiscard]] bool is_return_address(std::uint64_t address) const
    {
        if (!in_text(address) || address - text_ < longest_call)
            return false;
        std::uint8_t before[longest_call];
        std::memcpy(before, binding_.image.placement.bytes.data() + (address - longest_call - binding_.image.placement.address),
                    longest_call);
        if (before[longest_call - 5] == 0xe8)
            return true;
        for (std::uint64_t at = 0; at + 1 < longest_call; ++at)
            if (before[at] == 0xff && (before[at + 1] >> 3 & 7) == 2)
                return true;
        return false;
    }

    /// `behind`: how far the address lies behind the instruction that it stands for.
    void add(std::uint64_t address, std::uint64_t behind, bool guessed)
    {
        if (count_ == frames_.size())
            return;
        ReportFrame& frame = frames_[count_++];
        frame = {.address = address, .guessed = guessed};
        if (const auto symbol = binding_.module.verified().symbolise(binding_.image, address - behind)) {
            frame.offset = symbol->offset + behind;
            std::copy_n(symbol->name.data(), std::min(symbol->name.size(), sizeof frame.symbol - 1), frame.symbol);
        }
    }

    /// The gate's end of hooks; of a trusted hook, whatever of the hypervisor has called it.
    [[nodiscard]] bool is_caller_of_hooks(std::uint64_t address) const
    {
        return binding_.isolated != nullptr ? address == platform::isolated_return() : !in_text(address);
    }

    /// Where the chain broke, or zero: it ended where the hook was entered.  Each frame lies above the one before, so it ends.
    std::uint64_t follow_frames(std::uint64_t frame, std::uint64_t lowest)
    {
        while (frame >= lowest && frame % word_bytes == 0 && frame < top_ && top_ - frame >= 2 * word_bytes) {
            const std::uint64_t address = word_at(frame + word_bytes);
            lowest = frame + 2 * word_bytes;
            if (lowest == top_ && is_caller_of_hooks(address))
                return 0;
            if (!in_text(address))
                break;
            add(address, 1, false);
            frame = word_at(frame);
        }
        return lowest;
    }

    void search(std::uint64_t from)
    {
        for (std::uint64_t at = (from + word_bytes - 1) & ~(word_bytes - 1); at < top_ && top_ - at <= stack_limit();
             at += word_bytes)
            if (const std::uint64_t address = word_at(at); is_return_address(address))
                add(address, 1, true);
    }
    static std::uint64_t stack_limit() { return platform::isolated_stack_bytes(); }

    const Binding& binding_;
    std::uint64_t text_;
    platform::HookStack stack_;  ///< of a trusted hook
    std::uint64_t top_;  ///< of the hook's stack, with the address that it returns to
    const platform::HookFault& fault_;
    std::span<ReportFrame> frames_;
    std::uint32_t count_{};
};

}  // namespace

std::uint32_t walk_stack(const Binding& binding, const Seat& seat, const platform::HookFault& fault,
                         std::span<ReportFrame> frames)
{
    return Walk{binding, seat, fault, frames}.run();
}

}  // namespace hv::core

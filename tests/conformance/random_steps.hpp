// SPDX-License-Identifier: MIT
//
// Draws what a guest does next: accesses to synthetic MSRs and hypercalls, most of them legal or wrong in one place, some wrong
// altogether.  The same seed draws the same steps.  What must not happen where the steps run (a reset, say), `World` keeps out.
#pragma once

#include "reference_model.hpp"

namespace reference {

/// Where the steps are taken.
struct World {
    Word pages{};             ///< guest-physical address of the pages that the guest has for the hypervisor's
    unsigned page_count{};    ///< the first two are the hypercall page's
    Word input{}, output{};   ///< pages for calls; the page behind `input` is the guest's too
    bool may_end{};           ///< resets, crashes, interrupts of any kind and sleep are no matter
    bool may_overlap{};       ///< pages may be put over each other
};

enum class StepKind { read, write, call, look };

struct Step {
    StepKind kind{};
    unsigned vp{};
    std::uint32_t msr{};
    Word value{};  ///< to write, or the page to look at
    Call call{};
};

class Steps {
public:
    constexpr Steps(Word seed, const World& world) : state_{seed | 1}, world_{world} {}

    constexpr Step next(const Model& model)
    {
        Step step{};
        step.vp = below(model.vps);
        const unsigned choice{below(16)};
        if (choice == 0) {
            step.kind = StepKind::look;
            step.value = world_.pages + below(world_.page_count) * page_bytes;
        } else if (choice < 5 && model.page_enabled()) {
            step.kind = StepKind::call;
            draw_call(step.call, model);
        } else {
            step.kind = choice < 10 ? StepKind::write : StepKind::read;
            step.msr = draw_msr(step.kind);
            step.value = restrain(step.msr, draw_value(step.msr, step.vp));
        }
        return step;
    }

private:
    static constexpr Word beyond{1ull << 52};  ///< any memory

    static constexpr bool places_page(std::uint32_t msr)
    {
        return msr == 0x4000'0001 || msr == 0x4000'0021 || msr == 0x4000'0073 || msr == 0x4000'0082 || msr == 0x4000'0083;
    }
    [[nodiscard]] constexpr bool is_own_page(Word value) const
    {
        return value >= world_.pages && value < world_.pages + world_.page_count * page_bytes;
    }
    constexpr Word draw()
    {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return state_;
    }
    constexpr unsigned below(unsigned limit) { return static_cast<unsigned>((draw() >> 20) % limit); }
    constexpr bool once_in(unsigned times) { return below(times) == 0; }

    constexpr std::uint32_t draw_msr(StepKind kind)
    {
        if (once_in(8))
            return 0x4000'0000 + below(0x200);
        constexpr std::uint32_t groups[][2]{{0x4000'0000, 2}, {0x4000'0000, 4}, {0x4000'0010, 1}, {0x4000'0020, 4}, {0x4000'0070, 4},
                                            {0x4000'0080, 5}, {0x4000'0090, 16}, {0x4000'00b0, 8}, {0x4000'00b0, 8}, {0x4000'0100, 6},
                                            {0x4000'0118, 1}};
        const auto& group = groups[below(11)];
        const std::uint32_t msr{group[0] + below(group[1])};
        const bool sleeps{msr == 0x4000'00f0 && kind == StepKind::read && !world_.may_end};
        return sleeps ? 0x4000'0002 : msr;
    }

    constexpr Word draw_page(unsigned who)
    {
        if (once_in(16))
            return beyond + who * page_bytes;
        if (world_.may_overlap)
            return world_.pages + (2 + below(world_.page_count - 2)) * page_bytes;
        return world_.pages + (2 + (2 * who + below(2)) % (world_.page_count - 2)) * page_bytes;  // of each two of its own
    }

    constexpr Word draw_legal(std::uint32_t msr, unsigned vp)
    {
        const unsigned first{1 + 3 * vp};
        switch (msr) {
        case 0x4000'0000: return once_in(24) ? 0 : 0x8100'0000'0001'0000 + below(4);
        case 0x4000'0001: return (once_in(16) ? beyond : world_.pages + below(2) * page_bytes) | (once_in(8) ? 0 : once_in(160) ? 3 : 1);
        case 0x4000'0021: return draw_page(0) | (once_in(3) ? 0 : 1);
        case 0x4000'0073: return draw_page(first) | (once_in(3) ? 0 : 1);
        case 0x4000'0082: return draw_page(first + 1) | (once_in(3) ? 0 : 1);
        case 0x4000'0083: return draw_page(first + 2) | (once_in(3) ? 0 : 1);
        case 0x4000'0072: return below(256);
        case 0x4000'0003: case 0x4000'0080: case 0x4000'0118: return below(2);
        case 0x4000'0084: return 0;
        case 0x4000'0105: return draw() & 3ull << 62;
        default: break;
        }
        if (msr >= 0x4000'0090 && msr <= 0x4000'009f)
            return below(256) | Word{below(8)} << 16;
        if (msr >= 0x4000'00b0 && msr <= 0x4000'00b7 && (msr & 1) == 0)
            return draw() & 0xf'1fff;
        return once_in(4) ? 0 : draw();
    }

    constexpr Word draw_value(std::uint32_t msr, unsigned vp)
    {
        if (once_in(16))
            return draw();
        const Word legal{draw_legal(msr, vp)};
        return once_in(5) ? legal ^ 1ull << below(64) : legal;
    }

    /// Takes away what ends the guest, or what happens at a time that nobody knows: timers are off or never due.
    constexpr Word restrain(std::uint32_t msr, Word value)
    {
        if (world_.may_end)
            return msr == 0x4000'0001 && !once_in(8) && (value & 0xfff) != 3 ? value & ~2ull : value;  // locked, it is for good
        if (places_page(msr) && (value & 1) != 0 && !is_own_page(value))
            value |= beyond;
        const bool count{msr >= 0x4000'00b0 && msr <= 0x4000'00b7 && (msr & 1) != 0};
        switch (msr) {
        case 0x4000'0001: return value & ~2ull;
        case 0x4000'0003: return value & ~1ull;
        case 0x4000'0071: return 1ull << 14 | (0x50 + (value & 0xf));
        case 0x4000'0105: return value & ~(1ull << 63);
        default: return count && value != 0 ? value | 1ull << 60 : value;
        }
    }

    constexpr void draw_set(Call& call, unsigned at, const Model& model)
    {
        const unsigned banks{below(4)};
        call.words[at] = once_in(4) ? 1 : once_in(12) ? draw() : 0;
        Word valid{};
        for (unsigned bank = 0; bank < banks; ++bank)
            valid |= 1ull << (once_in(3) ? below(64) : bank);
        Word named{};
        for (unsigned bank = 0; bank < 64; ++bank)
            named += valid >> bank & 1;
        call.words[at + 1] = once_in(12) ? valid ^ 1ull << below(64) : valid;
        call.control |= (once_in(12) ? below(70) : named) << 17;
        for (unsigned bank = 0; bank < 4; ++bank)
            call.words[at + 2 + bank] = bank == 0 ? draw() & (once_in(8) ? ~0ull : (1ull << model.vps) - 1) : once_in(6) ? draw() : 0;
    }

    constexpr void draw_words(Call& call, Word code, const Model& model)
    {
        const bool ex{code >= 0x13 && code <= 0x15};
        const bool ipi{code == 0x0b || code == 0x15};
        if (ipi) {
            call.words[0] = once_in(8) ? below(0x200) : 0x50 + below(0x80);
            if (once_in(10))
                call.words[0] |= draw() << 32;
        } else {
            call.words[0] = draw();
            call.words[1] = once_in(8) ? draw() : once_in(8) ? 1ull << below(64) : below(4);
        }
        const unsigned at{ipi ? 1u : 2u};
        if (ex)
            draw_set(call, at, model);
        else
            call.words[at] = draw() & (once_in(6) ? ~0ull : (1ull << model.vps) - 1);
        if (code == 0x5c)
            call.words[1] = Word{below(300)} << 32 | (once_in(4) ? 0x8000'0001u : below(3));
    }

    constexpr Word draw_place(Word page)
    {
        if (once_in(12))
            return page + below(4096);
        return once_in(24) ? 1ull << 48 : page + 8 * below(64);
    }

    constexpr void draw_call(Call& call, const Model& model)
    {
        constexpr Word codes[]{0x02, 0x02, 0x03, 0x03, 0x08, 0x0b, 0x0b, 0x13, 0x13, 0x14, 0x14, 0x15, 0x15, 0x5c, 0x5d, 0x8001};
        const Word code{once_in(16) ? draw_foreign_code() : codes[below(16)]};
        call.control = code;
        draw_words(call, code, model);
        if (once_in(3))
            call.control |= 1 << 16;
        const bool list{code == 0x03 || code == 0x14};
        if (list != once_in(16)) {
            const unsigned count{once_in(8) ? below(600) : 1 + below(6)};
            call.control |= Word{count} << 32 | Word{once_in(3) ? below(count + 2) : 0} << 48;
        }
        if (once_in(12))
            call.control ^= 1ull << (16 + below(48));
        call.input = draw_place(world_.input);
        call.output = draw_place(world_.output);
    }

    /// A code that the model does not know; none of those that would switch address spaces or trust levels.
    constexpr Word draw_foreign_code()
    {
        const Word code{0x100 + below(0x7000)};
        return once_in(3) ? 0x8002 + below(0x7000) : code;
    }

    Word state_;
    World world_;
};

}  // namespace reference

// SPDX-License-Identifier: MIT
//
// What the specification says of synthetic MSRs and hypercalls, as the simplest program that answers like it: no pages, no timers, no
// interrupts, only what a guest reads back and how a call ends.  It shares no code with any implementation, allocates nothing, and
// runs in a guest as well as in a host test; random_steps.hpp draws what it is asked.  Where the specification leaves a choice, it
// takes Graft's (extensions/viridian/README.md): a reserved bit of an MSR is #GP, and a page over another one is.
// Specification: [TLFS-6.0b §2.4, §3, §7.8, §9.4, §10.2, §10.5, §11, §12, Appendix A to C].
#pragma once

#include <cstdint>

namespace reference {

using Word = std::uint64_t;

inline constexpr unsigned maximum_vps{4}, sints{16}, timers{4}, crash_words{5};
inline constexpr Word page_bytes{4096};

/// What the leaves offer: EBX:EAX and EDX of 0x40000003, EAX of 0x40000004.
struct Offer {
    Word privileges{};
    Word features{};
    Word hints{};

    [[nodiscard]] constexpr bool may(unsigned bit) const { return (privileges >> bit & 1) != 0; }
    [[nodiscard]] constexpr bool has(unsigned bit) const { return (features >> bit & 1) != 0; }
    [[nodiscard]] constexpr bool hints_at(unsigned bit) const { return (hints >> bit & 1) != 0; }
};

/// What an MSR access comes to.
struct Answer {
    bool fault{};          ///< #GP
    bool any{};            ///< a value that only this machine knows
    Word value{};
};

enum Status : std::uint32_t {
    ok = 0x0, bad_code = 0x2, bad_input = 0x3, bad_alignment = 0x4, bad_parameter = 0x5, denied = 0x6, bad_vp = 0xe, bad_connection = 0x12,
    undefined_opcode = 63,
};

/// How a call may end: one bit for each status that is right, since several mistakes may be reported in any order.
struct Ending {
    Word statuses{};
    Word reps{};       ///< completed, where it succeeds
    Word reached{};    ///< VPs that an IPI reaches, or that a flush must flush

    [[nodiscard]] constexpr bool allows(unsigned status) const { return (statuses >> status & 1) != 0; }
};

/// A call as a guest makes it; `words` are at `input`, or in the registers of a fast call.
struct Call {
    Word control{};
    Word input{};
    Word output{};
    Word words[32]{};
};

class Model {
public:
    /// There is memory below `memory`, and none from there on; pages of the hypervisor's can be placed below `places`.
    constexpr Model(const Offer& given, unsigned vp_count, Word memory, Word places)
        : offer{given}, vps{vp_count}, memory_end{memory}, places_end{places}
    {
        for (auto& one : vp)
            for (Word& sint : one.sint)
                sint = 0x1'0000;
    }

    [[nodiscard]] constexpr Answer read(std::uint32_t msr, unsigned of, Word now);
    /// False: #GP, and nothing changes.
    [[nodiscard]] constexpr bool write(std::uint32_t msr, unsigned of, Word value, Word now);
    [[nodiscard]] constexpr Ending call(const Call& made) const;

    [[nodiscard]] constexpr bool page_enabled() const { return (hypercall & 1) != 0; }
    [[nodiscard]] constexpr bool locked() const { return (hypercall & 2) != 0; }
    /// True where the guest sees a page of the hypervisor's there, not its own memory.
    [[nodiscard]] constexpr bool is_covered(Word page) const { return owner_of(page) != nobody || (page_enabled() && (hypercall & ~0xfffull) == page); }

    Offer offer;
    unsigned vps;
    Word memory_end, places_end;
    Word guest_id{}, hypercall{}, reference_tsc{}, tsc_control{}, crash[crash_words]{};
    struct Timer {
        Word config, count;
    };
    struct Vp {
        Word assist, scontrol, event_page, message_page, sint[sints], tpr, icr;
        Timer timer[timers];
    } vp[maximum_vps]{};

private:
    // Who has a page over the guest's memory: the reference TSC page, and three of each VP.
    static constexpr unsigned nobody{~0u}, tsc_owner{0};
    static constexpr unsigned owner(unsigned of, unsigned which) { return 1 + of * 3 + which; }
    [[nodiscard]] constexpr unsigned owner_of(Word page) const;
    constexpr bool place(Word& reg, Word value, unsigned who);
    constexpr bool write_hypercall(Word value);
    constexpr bool write_sint(Word& sint, Word value);
    constexpr bool write_timer(Timer& timer, bool is_config, Word value);
    static constexpr void expire(Timer& timer, Word now);
    [[nodiscard]] constexpr bool is_offered(std::uint32_t msr) const;

    [[nodiscard]] constexpr Ending check_flush(const Call& made, bool list, bool ex) const;
    [[nodiscard]] constexpr Ending check_ipi(const Call& made, bool ex) const;
    constexpr Word check_set(const Call& made, unsigned at, Word& statuses, bool& beyond) const;
    [[nodiscard]] constexpr Word every_vp() const { return (1ull << vps) - 1; }
};

// ---- MSRs -----------------------------------------------------------------------------------------------------------------------

constexpr bool Model::is_offered(std::uint32_t msr) const
{
    switch (msr) {
    case 0x4000'0000: case 0x4000'0001: return offer.may(5);
    case 0x4000'0002: return offer.may(6);
    case 0x4000'0003: return offer.may(7);
    case 0x4000'0010: return offer.may(0);
    case 0x4000'0020: return offer.may(1);
    case 0x4000'0021: return offer.may(9);
    case 0x4000'0022: case 0x4000'0023: return offer.may(11) && offer.has(8);
    case 0x4000'0070: case 0x4000'0071: case 0x4000'0072: case 0x4000'0073: return offer.may(4);
    case 0x4000'00f0: return offer.may(10);
    case 0x4000'0118: return offer.may(15);
    default: break;
    }
    if ((msr >= 0x4000'0080 && msr <= 0x4000'0084) || (msr >= 0x4000'0090 && msr <= 0x4000'009f))
        return offer.may(2);
    if (msr >= 0x4000'00b0 && msr <= 0x4000'00b7)
        return offer.may(3);
    return msr >= 0x4000'0100 && msr <= 0x4000'0105 && offer.has(10);
}

/// A timer with a time, not a period, in direct mode, is off when the time has come.
constexpr void Model::expire(Timer& timer, Word now)
{
    const bool enabled{(timer.config & 1) != 0}, periodic{(timer.config & 2) != 0}, direct{(timer.config & 1 << 12) != 0};
    if (enabled && direct && !periodic && timer.count != 0 && now >= timer.count)
        timer.config &= ~1ull;
}

constexpr Answer Model::read(std::uint32_t msr, unsigned of, Word now)
{
    if (!is_offered(msr))
        return {.fault = true};
    Vp& own{vp[of]};
    if (msr >= 0x4000'0090 && msr <= 0x4000'009f)
        return {.value = own.sint[msr - 0x4000'0090]};
    if (msr >= 0x4000'00b0 && msr <= 0x4000'00b7) {
        Timer& timer{own.timer[(msr - 0x4000'00b0) / 2]};
        expire(timer, now);
        return {.value = (msr & 1) != 0 ? timer.count : timer.config};
    }
    if (msr >= 0x4000'0100 && msr <= 0x4000'0104)
        return {.value = crash[msr - 0x4000'0100]};
    switch (msr) {
    case 0x4000'0000: return {.value = guest_id};
    case 0x4000'0001: return {.value = hypercall};
    case 0x4000'0002: return {.value = of};
    case 0x4000'0010: case 0x4000'0020: case 0x4000'0022: case 0x4000'0023: return {.any = true};
    case 0x4000'0021: return {.value = reference_tsc};
    case 0x4000'0070: return {.fault = true};
    case 0x4000'0071: return {.value = own.icr};
    case 0x4000'0072: return {.value = own.tpr};
    case 0x4000'0073: return {.value = own.assist};
    case 0x4000'0080: return {.value = own.scontrol};
    case 0x4000'0081: return {.value = 1};
    case 0x4000'0082: return {.value = own.event_page};
    case 0x4000'0083: return {.value = own.message_page};
    case 0x4000'0105: return {.value = 3ull << 62};
    case 0x4000'0118: return {.value = tsc_control};
    default: return {.value = 0};  // RESET, EOM, GUEST_IDLE
    }
}

constexpr unsigned Model::owner_of(Word page) const
{
    const auto lies = [page, this](Word reg) { return (reg & 1) != 0 && (reg & ~0xfffull) == page && page < places_end; };
    if (lies(reference_tsc))
        return tsc_owner;
    for (unsigned of = 0; of < vps; ++of) {
        const Word pages[]{vp[of].assist, vp[of].event_page, vp[of].message_page};
        for (unsigned which = 0; which < 3; ++which)
            if (lies(pages[which]))
                return owner(of, which);
    }
    return nobody;
}

/// A register that places a page: bits 63:12 and 0.  Beyond the memory it is shown nowhere.
constexpr bool Model::place(Word& reg, Word value, unsigned who)
{
    if ((value & 0xffe) != 0)
        return false;
    const unsigned there{owner_of(value & ~0xfffull)};
    if ((value & 1) != 0 && there != nobody && there != who)
        return false;
    reg = value;
    return true;
}

/// Without an identity it is not enabled, and not locked either.
constexpr bool Model::write_hypercall(Word value)
{
    if (locked() || (value & 0xffc) != 0)
        return false;
    if ((value & 1) != 0 && guest_id == 0)
        value &= ~0xfffull;
    if ((value & 1) != 0 && value >= places_end)
        return false;
    hypercall = value;
    return true;
}

constexpr bool Model::write_sint(Word& sint, Word value)
{
    const bool interrupts{(value & (1 << 16 | 1 << 18)) == 0};
    if ((value & ~0x7'00ffull) != 0 || (interrupts && (value & 0xff) < 16))
        return false;
    sint = value;
    return true;
}

/// An enabled timer that could signal nothing is disabled: no source, or in direct mode no legal vector.
constexpr bool Model::write_timer(Timer& timer, bool is_config, Word value)
{
    const auto without_effect = [](Word config) {
        return (config & 1 << 12) != 0 ? (config >> 4 & 0xff) < 16 : (config >> 16 & 0xf) == 0;
    };
    if (is_config) {
        if ((value & ~0xf'1fffull) != 0)
            return false;
        timer.config = without_effect(value) ? value & ~1ull : value;
        return true;
    }
    timer.count = value;
    if (value == 0)
        timer.config &= ~1ull;
    else if ((timer.config & 8) != 0)
        timer.config = without_effect(timer.config) ? timer.config & ~1ull : timer.config | 1;
    return true;
}

constexpr bool Model::write(std::uint32_t msr, unsigned of, Word value, Word now)
{
    if (!is_offered(msr))
        return false;
    Vp& own{vp[of]};
    if (msr >= 0x4000'0090 && msr <= 0x4000'009f)
        return write_sint(own.sint[msr - 0x4000'0090], value);
    if (msr >= 0x4000'00b0 && msr <= 0x4000'00b7) {
        Timer& timer{own.timer[(msr - 0x4000'00b0) / 2]};
        expire(timer, now);
        return write_timer(timer, (msr & 1) == 0, value);
    }
    const auto store = [](Word& where, Word what) {
        where = what;
        return true;
    };
    if (msr >= 0x4000'0100 && msr <= 0x4000'0104)
        return store(crash[msr - 0x4000'0100], value);
    switch (msr) {
    case 0x4000'0000:
        if (value == 0 && !locked())
            hypercall &= ~1ull;
        return store(guest_id, value);
    case 0x4000'0001: return write_hypercall(value);
    case 0x4000'0003: return value <= 1;
    case 0x4000'0021: return place(reference_tsc, value, tsc_owner);
    case 0x4000'0070: return value <= 0xffff'ffff;
    case 0x4000'0071: return store(own.icr, value);
    case 0x4000'0072: return value <= 0xff && store(own.tpr, value);
    case 0x4000'0073: return place(own.assist, value, owner(of, 0));
    case 0x4000'0080: return value <= 1 && store(own.scontrol, value);
    case 0x4000'0082: return place(own.event_page, value, owner(of, 1));
    case 0x4000'0083: return place(own.message_page, value, owner(of, 2));
    case 0x4000'0084: return value == 0;
    case 0x4000'0105: return (value & ~(3ull << 62)) == 0;
    case 0x4000'0118: return value <= 1 && store(tsc_control, value);
    default: return false;  // those that are only read
    }
}

// ---- hypercalls -----------------------------------------------------------------------------------------------------------------

constexpr Word bit_of(unsigned status)
{
    return 1ull << status;
}

/// The set whose format stands in word `at`, its banks behind it: the VPs of the first 64, and whether it has others.
constexpr Word Model::check_set(const Call& made, unsigned at, Word& statuses, bool& beyond) const
{
    const Word format{made.words[at]}, valid{made.words[at + 1]};
    const Word banks{made.control >> 17 & 0x3ff};
    Word named{};
    for (unsigned bank = 0; bank < 64; ++bank)
        named += valid >> bank & 1;
    if (format > 1)
        statuses |= bit_of(bad_parameter);
    if (named != banks)
        statuses |= bit_of(bad_input);
    if (format == 1)
        return every_vp();
    Word low{};
    for (unsigned index = 0; index < banks && at + 2 + index < 32; ++index) {
        if (index == 0 && (valid & 1) != 0)
            low = made.words[at + 2];
        else
            beyond = beyond || made.words[at + 2 + index] != 0;
    }
    return low;
}

/// Words: address space, flags, and a mask or a set.
constexpr Ending Model::check_flush(const Call& made, bool list, bool ex) const
{
    Ending ending{};
    bool beyond{};
    const Word flags{made.words[1]};
    if ((flags & ~7ull) != 0 || (list && (flags & 4) != 0))
        ending.statuses |= bit_of(bad_parameter);
    const Word asked{ex ? check_set(made, 2, ending.statuses, beyond) : made.words[2]};
    ending.reached = ((flags & 1) != 0 ? every_vp() : asked) & every_vp();
    return ending;
}

/// Words: vector and trust level, and a mask or a set.
constexpr Ending Model::check_ipi(const Call& made, bool ex) const
{
    Ending ending{};
    bool beyond{};
    const Word target{made.words[0]}, vector{target & 0xffff'ffff}, level{target >> 32 & 0xff};
    if (vector < 0x10 || vector > 0xff || level > 0x1f || ((level & 0x10) != 0 && (level & 0xf) != 0))
        ending.statuses |= bit_of(bad_parameter);
    const Word asked{ex ? check_set(made, 1, ending.statuses, beyond) : made.words[1]};
    if ((asked & ~every_vp()) != 0 || beyond)
        ending.statuses |= bit_of(bad_vp) | bit_of(bad_parameter);
    ending.reached = asked;
    return ending;
}

/// Every mistake of the call; none: it succeeds.
constexpr Ending Model::call(const Call& made) const
{
    struct Form {
        bool offered, list, variable;
        Word header, output;
    } form{};
    const Word code{made.control & 0xffff};
    switch (code) {
    case 0x0002: form = {offer.hints_at(2), false, false, 24, 0}; break;
    case 0x0003: form = {offer.hints_at(2), true, false, 24, 0}; break;
    case 0x0008: form = {true, false, false, 8, 0}; break;
    case 0x000b: form = {offer.hints_at(10), false, false, 16, 0}; break;
    case 0x0013: form = {offer.hints_at(2), false, true, 32, 0}; break;
    case 0x0014: form = {offer.hints_at(2), true, true, 32, 0}; break;
    case 0x0015: form = {offer.hints_at(10), false, true, 24, 0}; break;
    case 0x005c: form = {offer.may(32 + 4), false, false, 256, 0}; break;
    case 0x005d: form = {offer.may(32 + 5), false, false, 8, 0}; break;
    case 0x8001: form = {offer.may(32 + 20), false, false, 0, 8}; break;
    default: return {.statuses = bit_of(bad_code)};
    }
    if (!form.offered)
        return {.statuses = bit_of(denied) | bit_of(bad_code)};

    const Word banks{made.control >> 17 & 0x3ff}, count{made.control >> 32 & 0xfff}, start{made.control >> 48 & 0xfff};
    const bool fast{(made.control & 1 << 16) != 0};
    const Word bytes{form.header + 8 * banks + (form.list ? 8 * count : 0)};
    Word mistakes{};
    if ((made.control & 0xf000'f000'f800'0000) != 0 || banks > (form.variable ? 64 : 0))
        mistakes |= bit_of(bad_input);
    if (form.list ? count <= start : count != 0 || start != 0)
        mistakes |= bit_of(bad_input);
    if (fast) {
        if (form.output != 0 || bytes > 112)
            mistakes |= bit_of(bad_input);
        if (bytes > 16 && !offer.has(4))
            mistakes |= bit_of(undefined_opcode);
    } else {
        const auto misplaced = [this](Word address, Word length) {
            return length != 0 && (address % 8 != 0 || address % page_bytes + length > page_bytes || address >= memory_end);
        };
        if (misplaced(made.input, bytes) || misplaced(made.output, form.output))
            mistakes |= bit_of(bad_alignment);
    }
    if (mistakes != 0)
        return {.statuses = mistakes};

    Ending ending{};
    switch (code) {
    case 0x0002: case 0x0003: case 0x0013: case 0x0014: ending = check_flush(made, form.list, form.variable); break;
    case 0x000b: case 0x0015: ending = check_ipi(made, form.variable); break;
    case 0x005c: case 0x005d: ending.statuses = bit_of(bad_connection) | bit_of(bad_parameter); break;  // the model has no ports
    default: break;
    }
    if (ending.statuses == 0)
        ending.statuses = bit_of(ok);
    ending.reps = count;
    return ending;
}

}  // namespace reference

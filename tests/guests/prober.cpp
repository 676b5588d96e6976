// SPDX-License-Identifier: MIT
//
// Has its prober module read, write and execute one address in each page of a list, its ramdisk: eight bytes for each.  Says how
// many accesses faulted, and which did not; then goes on with accesses to the module's own page, for ever.  With numbers on its
// command line, it has hooks take so many ticks instead, and says which were left in peace, and how long each took.
#include <cstring>

#include "extensions/prober/probe_orders.hpp"
#include "kit/boot.hpp"
#include "kit/console.hpp"
#include "kit/interfaces.hpp"
#include "kit/machine.hpp"

namespace {

using namespace guest;
using prober::Access;
using prober::Fate;

alignas(16) volatile prober::Order order{};  // RAM is mapped where it lies

Fate fate_of(std::uint64_t address, Access access)
{
    order.address = address;
    order.access = access;
    order.fate = Fate::ordered;
    return write_msr(prober::msr, reinterpret_cast<std::uintptr_t>(&order)) ? order.fate : Fate::ordered;
}

void spin_on_order()
{
    for (unsigned word = 0;; ++word) {
        const auto ticks = parse_number(command_word(word));
        if (!ticks)
            return say_end();
        const std::uint64_t begin = read_tsc();
        const Fate fate = fate_of(*ticks / 2, Access::spin);
        fact("spin", *ticks, fate == Fate::reached ? " done " : fate == Fate::faulted ? " ended " : " unknown ",
             read_tsc() - begin);
    }
}

/// Nothing is mapped there, in no space.
void reach_nowhere()
{
    constexpr std::uint64_t nowhere{0x1000};
    for (const Access access : {Access::read, Access::write, Access::execute})
        expect("faults-nowhere", fate_of(nowhere, access) == Fate::faulted);
}

}  // namespace

extern "C" void guest_main()
{
    say_begin("prober");
    if (parse_number(command_word(0))) {
        reach_nowhere();
        return spin_on_order();
    }
    expect("reaches-its-own-page", fate_of(prober::own_page, Access::read) == Fate::reached);
    expect("may-not-execute-it", fate_of(prober::own_page, Access::execute) == Fate::faulted);
    constexpr Access accesses[]{Access::read, Access::write, Access::execute};
    std::uint64_t faulted[3]{};
    const std::string_view list{first_module()};
    for (std::size_t at = 0; at + sizeof(std::uint64_t) <= list.size(); at += sizeof(std::uint64_t)) {
        std::uint64_t address;
        std::memcpy(&address, list.data() + at, sizeof address);
        for (const Access access : accesses) {
            const Fate fate = fate_of(address, access);
            faulted[static_cast<unsigned>(access)] += fate == Fate::faulted ? 1 : 0;
            if (fate != Fate::faulted)
                fact("NOT-FAULTED", hv::Hex{address}, ", access ", static_cast<unsigned>(access), ", fate ",
                     static_cast<unsigned>(fate));
        }
    }
    fact("probed", list.size() / sizeof(std::uint64_t), " pages, faulted: ", faulted[0], " reads, ", faulted[1], " writes, ",
         faulted[2], " executions");
    for (;;) {  // for who looks at the tables of a hook that begins, and wants to see those of other instances too
        static_cast<void>(fate_of(prober::own_page, Access::read));
        for (unsigned turn = 0; turn < 100'000; ++turn)
            __builtin_ia32_pause();
    }
}

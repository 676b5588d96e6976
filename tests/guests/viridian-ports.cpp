// SPDX-License-Identifier: MIT
//
// Ports as a guest uses them: messages posted and events signalled by a connection's number, and what comes back into slots and
// flags.  The owner of connection 1 is tests/guests/port-echo; with the word `alone` there is none.  With the word `stream` there is no
// end of messages and events, three of the one and one of the other always under way, and each is the one that must come; its owner
// may come later, and the word `slowly` says that it is no module: a turn is then of fewer messages.
// Specification: [TLFS-6.0b §11].
#include <array>
#include <cstring>

#include "hv/x86/local_apic.hpp"
#include "kit/apic.hpp"
#include "kit/boot.hpp"
#include "kit/console.hpp"
#include "kit/interfaces.hpp"
#include "kit/interrupts.hpp"
#include "kit/known_interfaces.hpp"
#include "kit/machine.hpp"

namespace {

using namespace guest;
using hv::x86::ApicRegister;

constexpr std::uint32_t scontrol{0x4000'0080}, siefp{0x4000'0082}, simp{0x4000'0083}, end_of_message{0x4000'0084}, sint0{0x4000'0090},
    reference_count{0x4000'0020};
constexpr std::uint64_t post_message{0x5c}, signal_event{0x5d}, fast{1 << 16};
constexpr std::uint64_t success{0}, bad_input{3}, bad_alignment{4}, bad_parameter{5}, no_port{0x11}, no_connection{0x12}, no_buffers{0x13};
constexpr std::uint8_t message_vector{0x52}, event_vector{0x53};
constexpr unsigned message_sint{2}, event_sint{3};
constexpr std::uint64_t patience{100'000'000};  // 10 s

struct Message {
    volatile std::uint32_t type;
    volatile std::uint8_t bytes;
    volatile std::uint8_t flags;
    volatile std::uint16_t reserved;
    volatile std::uint64_t origin;
    volatile std::uint8_t payload[240];
};
static_assert(sizeof(Message) == 256);
alignas(4096) Message messages[16];
alignas(4096) volatile std::uint64_t flags[512];
alignas(4096) std::uint32_t input[1024];
volatile unsigned interrupts, events;
bool sleeps;  ///< until the interrupt, in HLT
std::optional<HypercallPage> page;

void took(InterruptFrame& frame)
{
    if (frame.vector == event_vector)
        events = events + 1;
    else
        interrupts = interrupts + 1;
    apic_write(ApicRegister::EOI, 0);
}

std::uint64_t now()
{
    return read_msr_that_exists(reference_count);
}

template <typename Done>
bool wait(Done done)
{
    while (sleeps && !done())
        halt_until_interrupt();
    const std::uint64_t begin{now()};
    asm volatile("sti" ::: "memory");
    while (!done() && now() - begin < patience)
        asm volatile("pause");
    asm volatile("cli" ::: "memory");
    return done();
}

std::uint64_t post(std::uint32_t connection, std::uint32_t type, std::uint32_t bytes, std::uint8_t first = 0)
{
    std::memset(input, 0, 256);
    input[0] = connection;
    input[2] = type;
    input[3] = bytes;
    auto* const payload = reinterpret_cast<std::uint8_t*>(&input[4]);
    for (unsigned at = 0; at < 240; ++at)
        payload[at] = static_cast<std::uint8_t>(first + at);
    return page->call(post_message, reinterpret_cast<std::uint64_t>(input));
}
std::uint64_t signal(std::uint64_t connection, std::uint64_t flag)
{
    return page->call(signal_event | fast, connection | flag << 32);
}

bool is_echo(std::uint32_t type, std::uint32_t bytes, std::uint8_t first)
{
    const Message& message = messages[message_sint];
    bool same{message.type == type && message.bytes == bytes};
    for (unsigned at = 0; at < bytes; ++at)
        same = same && message.payload[at] == static_cast<std::uint8_t>(first + at + 1);
    return same;
}

/// Empties the slot, and says so where more is to come.
void take()
{
    messages[message_sint].type = 0;
    asm volatile("mfence" ::: "memory");
    if ((messages[message_sint].flags & 1) != 0)
        write_msr_that_exists(end_of_message, 0);
}

bool comes(std::uint32_t type)
{
    return wait([=] { return messages[message_sint].type == type; });
}

void try_refusals()
{
    expect_equal("connection-0", no_connection, post(0, 7, 8));
    expect_equal("connection-2", no_connection, post(2, 7, 8));
    expect_equal("type-0", bad_parameter, post(1, 0, 8));
    expect_equal("type-of-the-hypervisor", bad_parameter, post(1, 0x8000'0001, 8));
    expect_equal("payload-of-241-bytes", bad_parameter, post(1, 7, 241));
    expect_equal("message-in-registers", bad_input, page->call(post_message | fast, 1, 7));
    expect_equal("message-across-two-pages", bad_alignment, page->call(post_message, reinterpret_cast<std::uint64_t>(input) + 3848));
    expect_equal("event-by-connection-2", no_connection, signal(2, 0));
    expect_equal("flag-2048", bad_parameter, signal(1, 2048));
    expect_equal("event-with-reserved-bits", bad_parameter, signal(1, 1 << 16));
}

void try_messages()
{
    unsigned good{};
    for (unsigned round = 0; round < 200; ++round) {
        const std::uint32_t bytes{round % 241};
        const auto first = static_cast<std::uint8_t>(round * 7);
        const unsigned before{interrupts};
        good += post(1, 0x2000 + round, bytes, first) == success && comes(0x2001 + round) && is_echo(0x2001 + round, bytes, first) &&
                        wait([=] { return interrupts == before + 1; })
                    ? 1
                    : 0;
        take();
    }
    expect_equal("messages-come-back", 200, good);
}

/// Eight at once: four find room, and the owner hears of the others.
void try_many()
{
    expect_equal("order-of-many", success, post(1, 0x99, 4));
    unsigned in_order{};
    for (unsigned count = 0; count < 4; ++count) {
        in_order += comes(0x9a + count) ? 1 : 0;
        take();
    }
    expect_equal("those-that-find-room-come-in-order", 4, in_order);
    expect_equal("order-of-a-count", success, post(1, 0x50, 4));
    expect("the-owner-knows-of-the-others", comes(0x1004));
    take();
}

void try_events()
{
    unsigned good{};
    for (unsigned flag = 0; flag < 2047; flag += 89) {
        const unsigned before{events};
        const unsigned place{event_sint * 2048 + flag + 1};
        good += signal(1, flag) == success && wait([=] { return events == before + 1; }) && (flags[place / 64] >> place % 64 & 1) != 0 ? 1 : 0;
        flags[place / 64] = 0;
    }
    expect_equal("events-come-back", 23, good);
    expect_equal("the-last-flag", success, signal(1, 2047));  // has no next: its owner is refused
}

/// Messages, numbered, as many as may be under way.
class MessageStream {
public:
    [[nodiscard]] unsigned received() const { return received_; }
    [[nodiscard]] unsigned wrong() const { return wrong_; }

    void fill()
    {
        while (posted_ - received_ < under_way) {
            const std::uint64_t status{post(1, first_type + posted_, bytes_of(posted_), static_cast<std::uint8_t>(posted_))};
            if (status != success) {
                wrong_ += status == no_buffers || (status == no_port && posted_ == 0) ? 0 : 1;  // it is posted again
                return;
            }
            ++posted_;
        }
    }
    void take_what_is_there()
    {
        if (messages[message_sint].type == 0)
            return;
        wrong_ += is_echo(first_type + received_ + 1, bytes_of(received_), static_cast<std::uint8_t>(received_)) ? 0 : 1;
        ++received_;
        take();
    }

private:
    static constexpr unsigned under_way{3};
    static constexpr std::uint32_t first_type{0x10000};
    static std::uint32_t bytes_of(unsigned number) { return number % 241; }

    unsigned posted_{}, received_{}, wrong_{};
};

/// Events, one after the other, and no flag but theirs.
class EventStream {
public:
    [[nodiscard]] unsigned wrong() const { return wrong_; }

    void go_on()
    {
        if (!under_way_) {
            const std::uint64_t status{signal(1, flag_)};
            under_way_ = status == success;
            owned_ = owned_ || under_way_;
            wrong_ += under_way_ || status == no_buffers || (status == no_port && !owned_) ? 0 : 1;
            return;
        }
        const unsigned place{event_sint * 2048 + flag_ + 1};
        if ((flags[place / 64] >> place % 64 & 1) == 0)
            return;
        for (unsigned word = 0; word < 512; ++word) {
            wrong_ += flags[word] == (word == place / 64 ? 1ull << place % 64 : 0) ? 0 : 1;
            flags[word] = 0;
        }
        flag_ = (flag_ + 1) % 2047;
        under_way_ = false;
    }

private:
    unsigned flag_{}, wrong_{};
    bool under_way_{}, owned_{};
};

[[noreturn]] void stream()
{
    const unsigned turn{command_word(1) == "slowly" ? 20u : 500u};
    MessageStream stream_of_messages;
    EventStream stream_of_events;
    for (unsigned next{turn};;) {
        stream_of_messages.fill();
        stream_of_events.go_on();
        asm volatile("sti\n pause\n cli" ::: "memory");
        stream_of_messages.take_what_is_there();
        if (stream_of_messages.received() < next)
            continue;
        print_line("guest: ports: turns ", next / turn, ", wrong ", stream_of_messages.wrong() + stream_of_events.wrong());
        next += turn;
    }
}

void try_everything()
{
    set_handler(message_vector, took);
    set_handler(event_vector, took);
    enable_xapic();
    write_msr_that_exists(scontrol, 1);
    write_msr_that_exists(simp, reinterpret_cast<std::uint64_t>(messages) | 1);
    write_msr_that_exists(siefp, reinterpret_cast<std::uint64_t>(flags) | 1);
    write_msr_that_exists(sint0 + message_sint, message_vector);
    write_msr_that_exists(sint0 + event_sint, event_vector);
    if (command_word(0) == "stream")
        stream();
    try_refusals();
    if (command_word(0) == "alone") {
        expect_equal("message-to-nobody", no_port, post(1, 7, 8));
        expect_equal("event-to-nobody", no_port, signal(1, 7));
        return;
    }
    try_messages();
    try_many();
    try_events();
    sleeps = true;
    try_messages();
}

}  // namespace

extern "C" void guest_main()
{
    constexpr std::uint32_t post_and_signal{0x30};  // CPUID 0x40000003 EBX
    say_begin("viridian-ports");
    const auto block = find_block(viridian_signature);
    if (block && (cpuid(block->base + 3).ebx & post_and_signal) == post_and_signal)
        page = enable_hypercalls(viridian_msrs());
    if (page)
        try_everything();
    else
        fact("viridian-ports", "absent");
    say_end();
}

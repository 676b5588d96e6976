// SPDX-License-Identifier: MIT
//
// Channels: two instances of one domain that open the same name tell each other what they have to say; what waits outlives a swap,
// and nothing is left behind by those who go.
#include <cstring>
#include <functional>

#include "channels.hpp"
#include "extension_fixture.hpp"
#include "handle.hpp"
#include "hv/core/ext/swap.hpp"

namespace hv::test {
namespace {

struct Told {
    std::string by;
    std::uint64_t channel;
    std::string text;
};
std::vector<Told> told;
bool reply_wanted;
std::function<void()> meanwhile;  // what another processor does while a message is heard

class ChannelTest : public ExtensionTest {
protected:
    ChannelTest() : one{bound("puppet-one")}, two{bound("puppet-two")}
    {
        told.clear();
        reply_wanted = false;
        meanwhile = nullptr;
        one.hooks.channel_message = hear;
        two.hooks.channel_message = hear;
        start();
    }
    static std::string text_at(const Binding& binding, const void* bytes, std::uint64_t length)
    {
        const auto* const own = binding.isolated == nullptr
                                    ? static_cast<const std::byte*>(bytes)
                                    : binding.isolated->reach(reinterpret_cast<std::uintptr_t>(bytes), length, false);
        EXPECT_NE(own, nullptr);
        return {reinterpret_cast<const char*>(own), static_cast<std::size_t>(length)};
    }
    static abi::Verdict hear(const abi::DomainContext*, std::uint64_t channel, const void* bytes, std::uint64_t length)
    {
        const Binding& binding = *current_call().binding;
        told.push_back({std::string{binding.name()}, channel, text_at(binding, bytes, length)});
        if (reply_wanted && told.size() < 5) {
            EXPECT_EQ(host().channel_send(channel, "again", 5), abi::status_ok);
        }
        if (meanwhile)
            meanwhile();
        return abi::done_unchanged;
    }
    std::uint64_t open(Binding& binding, std::string_view name, abi::Answer expected = abi::status_ok)
    {
        std::uint64_t channel{};
        from_hook(*binding.vcpus[0], [&](const abi::VcpuContext& context) {
            EXPECT_EQ(host().channel_open(context.domain, name.data(), name.size(), &channel), expected) << name;
        });
        return channel;
    }
    void send(Binding& binding, std::uint64_t channel, std::string_view text, abi::Answer expected = abi::status_ok)
    {
        from_hook(*binding.vcpus[0], [&](const abi::VcpuContext&) {
            EXPECT_EQ(host().channel_send(channel, text.data(), text.size()), expected) << text;
        });
    }
    void close(Binding& binding, std::uint64_t channel, abi::Answer expected = abi::status_ok)
    {
        from_hook(*binding.vcpus[0],
                  [&](const abi::VcpuContext&) { EXPECT_EQ(host().channel_close(channel), expected); });
    }
    /// Another instance of the module in the place of that one; it hears from now on.
    Binding& swapped(Binding& old)
    {
        const std::string name{old.name()};
        why.clear();
        const auto loaded = registry->load_beside(file_of(name), {}, "/lib/" + name + ".hvx", why);
        EXPECT_TRUE(loaded) << why.view();
        SwapReport report{};
        EXPECT_TRUE(swap_extension(*domain, name, *loaded.value(), {}, report, why)) << why.view();
        registry->supersede(*loaded.value());
        forget_replaced(*domain);
        registry->sweep();
        Binding& fresh = *find_binding(*domain, name, why);
        fresh.hooks.channel_message = hear;
        return fresh;
    }
    /// The first VCPU comes to its next instruction.
    void run() { domain->extensions->before_entry(domain->vcpu(0)); }

    Binding& one;
    Binding& two;
};

TEST_F(ChannelTest, what_is_sent_comes_to_the_other_end_in_order_before_the_first_vcpus_next_instruction)
{
    const std::uint64_t here = open(one, "bus");
    send(one, here, "lost", abi::status_not_found);  // nobody there yet
    const std::uint64_t there = open(two, "bus");
    EXPECT_NE(here, there);
    send(one, here, "first");
    send(one, here, "second");
    send(two, there, "back");
    EXPECT_TRUE(told.empty());
    domain->extensions->before_entry(domain->vcpu(1));
    EXPECT_TRUE(told.empty());
    run();
    ASSERT_EQ(told.size(), 3u);
    EXPECT_EQ(told[0].by, "puppet-one");
    EXPECT_EQ(told[0].text, "back");
    EXPECT_EQ(told[0].channel, here);
    EXPECT_EQ(told[1].by, "puppet-two");
    EXPECT_EQ(told[1].text, "first");
    EXPECT_EQ(told[2].text, "second");
    EXPECT_EQ(told[2].channel, there);
    run();
    EXPECT_EQ(told.size(), 3u);
}

TEST_F(ChannelTest, an_answer_from_the_hook_is_told_in_its_turn)
{
    const std::uint64_t here = open(one, "bus");
    open(two, "bus");
    reply_wanted = true;
    send(one, here, "hello");
    for (unsigned round = 0; round < 8; ++round)
        run();
    ASSERT_EQ(told.size(), 5u);
    EXPECT_EQ(told[4].by, "puppet-two");
}

TEST_F(ChannelTest, who_sends_as_fast_as_it_is_told_does_not_keep_the_vcpu_from_looking_around)
{
    const Handle here{open(one, "bus")};
    open(two, "bus");
    meanwhile = [&] {
        if (told.size() < 100) {
            EXPECT_TRUE(one.holdings.channels.send(here, {}));
        }
    };
    EXPECT_TRUE(one.holdings.channels.send(here, {}));
    run();
    EXPECT_EQ(told.size(), ChannelEnd::room);
    EXPECT_TRUE(domain->vcpu(0).has_requests());  // it comes back to the rest
    run();
    EXPECT_EQ(told.size(), 2 * ChannelEnd::room);
    meanwhile = nullptr;
    run();
    EXPECT_EQ(told.size(), 2 * ChannelEnd::room + 1);
}

TEST_F(ChannelTest, more_than_eight_do_not_wait_and_nothing_is_lost_of_those)
{
    const std::uint64_t here = open(one, "bus");
    open(two, "bus");
    for (char letter = 'a'; letter < 'i'; ++letter)
        send(one, here, std::string(512, letter));
    send(one, here, "too much", abi::status_limit_reached);
    run();
    ASSERT_EQ(told.size(), 8u);
    for (unsigned index = 0; index < 8; ++index)
        EXPECT_EQ(told[index].text, std::string(512, static_cast<char>('a' + index)));
    send(one, here, "there is room again");
    send(one, here, std::string(513, 'x'), abi::status_invalid_argument);
    send(one, here, "", abi::status_invalid_argument);
}

TEST_F(ChannelTest, names_are_for_two_instances)
{
    open(one, "bus");
    open(one, "bus", abi::status_already_exists);
    open(two, "bus");
    open(two, "bus", abi::status_already_exists);
    open(one, "", abi::status_invalid_argument);
    open(one, "with blank", abi::status_invalid_argument);
    open(one, std::string(32, 'n'), abi::status_invalid_argument);
    open(one, std::string(31, 'n'));
    for (unsigned count = 2; count < 8; ++count)
        open(one, "bus-" + std::to_string(count));
    open(one, "bus-9", abi::status_limit_reached);
    one.hooks.channel_message = nullptr;
    open(one, "deaf", abi::status_invalid_argument);
}

TEST_F(ChannelTest, a_closed_end_is_gone_and_its_name_is_free)
{
    const std::uint64_t here = open(one, "bus");
    const std::uint64_t there = open(two, "bus");
    send(one, here, "never heard");
    close(two, there);
    close(two, there, abi::status_gone);
    close(one, there, abi::status_invalid_argument);
    send(one, here, "nobody there", abi::status_not_found);
    run();
    EXPECT_TRUE(told.empty());
    const std::uint64_t anew = open(two, "bus");
    EXPECT_NE(anew, there);
    send(one, here, "heard");
    run();
    ASSERT_EQ(told.size(), 1u);
    EXPECT_EQ(told[0].channel, anew);
    for (std::uint64_t raw = 1; raw != 0; raw <<= 1)
        send(one, raw, "nowhere", abi::status_invalid_argument);
}

TEST_F(ChannelTest, what_waits_at_a_swap_is_told_to_the_next_instance_once_and_in_order)
{
    const std::uint64_t here = open(one, "bus");
    const std::uint64_t there = open(two, "bus");
    send(one, here, "told before");
    run();
    send(one, here, "first");
    send(one, here, "second");
    Binding& next = swapped(two);
    EXPECT_EQ(told.size(), 1u);  // the swap itself tells nothing
    send(one, here, "third");
    send(next, there, "from the handle of the instance before");
    run();
    run();
    ASSERT_EQ(told.size(), 5u);
    EXPECT_EQ(told[1].text, "from the handle of the instance before");
    const std::array wanted{"first", "second", "third"};
    for (std::size_t index = 0; index < wanted.size(); ++index) {
        EXPECT_EQ(told[2 + index].by, "puppet-two");
        EXPECT_EQ(told[2 + index].text, wanted[index]);
        EXPECT_EQ(told[2 + index].channel, there);
    }
}

TEST_F(ChannelTest, a_full_queue_goes_over_a_swap_of_the_sender_and_one_of_the_receiver)
{
    const std::uint64_t here = open(one, "bus");
    open(two, "bus");
    for (char letter = 'a'; letter < 'i'; ++letter)
        send(one, here, std::string(512, letter));
    Binding& sender = swapped(one);
    swapped(two);
    send(sender, here, "no room", abi::status_limit_reached);
    run();
    send(sender, here, "room again");
    run();
    ASSERT_EQ(told.size(), 9u);
    for (unsigned index = 0; index < 8; ++index)
        EXPECT_EQ(told[index].text, std::string(512, static_cast<char>('a' + index)));
    EXPECT_EQ(told[8].text, "room again");
}

TEST_F(ChannelTest, no_look_at_the_state_meets_a_message_on_the_domains_seat)
{
    const std::uint64_t here = open(one, "bus");
    open(two, "bus");
    meanwhile = [&] { EXPECT_FALSE(two.seat_lock.try_lock()); };
    send(one, here, "heard alone");
    run();
    EXPECT_EQ(told.size(), 1u);
    two.hooks.export_state = [](const abi::DomainContext*, std::uint8_t*, std::uint64_t, std::uint64_t*) -> abi::Verdict {
        EXPECT_FALSE(current_call().binding->seat_lock.try_lock());
        told.clear();
        return abi::done;
    };
    std::vector<std::byte> room(1 << 20);
    EXPECT_TRUE(export_extension(*domain, "puppet-two", room, why)) << why.view();
    EXPECT_TRUE(told.empty());
    EXPECT_TRUE(two.seat_lock.try_lock());
    two.seat_lock.unlock();
}

TEST_F(ChannelTest, the_end_of_an_instance_that_is_taken_away_is_closed)
{
    const std::uint64_t here = open(one, "bus");
    const std::uint64_t there = open(two, "bus");
    send(two, there, "told before");
    run();
    ASSERT_TRUE(ExtensionStack::detach(*domain, "puppet-two", why)) << why.view();
    send(one, here, "nobody there", abi::status_not_found);
    EXPECT_EQ(told.size(), 1u);
}

}  // namespace
}  // namespace hv::test

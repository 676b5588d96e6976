// SPDX-License-Identifier: MIT
//
// Channels with the control domain at one end: what is sent comes in order, who sends hears when there is no room and when there is
// again, the control domain is told once of what it has to fetch, and a swap of the module at the other end is not seen.
#include <array>
#include <string>
#include <vector>

#include "channels.hpp"
#include "extension_fixture.hpp"
#include "hv/core/ext/control_channels.hpp"
#include "hv/core/ext/swap.hpp"

namespace hv::test {
namespace {

std::vector<std::string> heard;
unsigned wakes;

class ControlChannelTest : public ExtensionTest {
protected:
    ControlChannelTest()
    {
        heard.clear();
        wakes = 0;
        EXPECT_TRUE(bind("swap-1")) << why.view();
        start();
        ControlChannels::set_listener([] { ++wakes; });
    }
    ~ControlChannelTest() override { ControlChannels::set_listener(nullptr); }

    [[nodiscard]] Binding& module_end() const { return *domain->extensions->implementation().bindings[0]; }
    [[nodiscard]] ControlChannels ends() const { return domain->extensions->control_channels(); }

    /// The extension opens its end, and sends.
    Handle open_by_module(std::string_view name)
    {
        const auto opened = module_end().holdings.channels.open(name, module_end().vcpus[0]);
        EXPECT_TRUE(opened);
        return opened ? opened.value() : Handle{0};
    }
    Status send_by_module(Handle end, std::string_view text)
    {
        return module_end().holdings.channels.send(end, std::as_bytes(std::span{text}));
    }
    /// The extension hears what waits for it, before the first VCPU's next instruction.
    void run()
    {
        module_end().hooks.channel_message = hear;
        static_cast<void>(domain->vcpu(0).take_requests());
        domain->extensions->before_entry(domain->vcpu(0));
    }
    static abi::Verdict hear(const abi::DomainContext*, std::uint64_t, const void* bytes, std::uint64_t length)
    {
        const Binding& binding = *current_call().binding;
        const auto* const own = binding.isolated == nullptr
                                    ? static_cast<const std::byte*>(bytes)
                                    : binding.isolated->reach(reinterpret_cast<std::uintptr_t>(bytes), length, false);
        heard.emplace_back(reinterpret_cast<const char*>(own), static_cast<std::size_t>(length));
        return abi::done_unchanged;
    }

    std::uint64_t open(std::string_view name)
    {
        const auto opened = ends().open(name);
        EXPECT_TRUE(opened) << name;
        return opened ? opened.value() : 0;
    }
    Status send(std::uint64_t end, std::string_view text) { return ends().send(end, std::as_bytes(std::span{text})); }
    /// The next message, or nothing.
    std::string take(std::uint64_t end)
    {
        std::array<std::byte, ControlChannels::longest_message> room;
        const auto taken = ends().take(end, room);
        EXPECT_TRUE(taken);
        return {reinterpret_cast<const char*>(room.data()), taken ? taken.value() : 0};
    }
    /// The ends with news.
    std::vector<std::uint64_t> news()
    {
        std::vector<std::uint64_t> all;
        for (std::uint64_t end{}; ends().next_changed(end);)
            all.push_back(end);
        return all;
    }
    void swap(const std::string& name)
    {
        const auto next = registry->load_beside(file_of(name), {}, "/lib/" + name + ".hvx", why);
        ASSERT_TRUE(next) << why.view();
        SwapReport report{};
        ASSERT_TRUE(swap_extension(*domain, "swappable", *next.value(), {}, report, why)) << why.view();
        registry->supersede(*next.value());
        registry->sweep();
        forget_replaced(*domain);
    }
};

TEST_F(ControlChannelTest, messages_go_both_ways_in_their_order)
{
    const Handle there = open_by_module("bus");
    EXPECT_EQ(send_by_module(there, "x").error(), Error::not_found);
    const std::uint64_t here = open("bus");
    EXPECT_TRUE(ends().state(here).value().connected);
    EXPECT_TRUE(send_by_module(there, "one"));
    EXPECT_TRUE(send_by_module(there, "two"));
    EXPECT_EQ(ends().state(here).value().waiting, 2u);
    EXPECT_EQ(take(here), "one");
    EXPECT_EQ(take(here), "two");
    EXPECT_EQ(take(here), "");
    EXPECT_TRUE(send(here, "three"));
    EXPECT_TRUE(send(here, "four"));
    run();
    EXPECT_EQ(heard, (std::vector<std::string>{"three", "four"}));
}

TEST_F(ControlChannelTest, the_order_of_opening_does_not_matter_and_is_told)
{
    const std::uint64_t here = open("bus");
    EXPECT_FALSE(ends().state(here).value().connected);
    EXPECT_EQ(send(here, "x").error(), Error::not_found);
    EXPECT_TRUE(news().empty());
    const Handle there = open_by_module("bus");
    EXPECT_EQ(wakes, 1u);
    EXPECT_EQ(news(), (std::vector<std::uint64_t>{here}));
    EXPECT_TRUE(send(here, "x"));
    EXPECT_TRUE(module_end().holdings.channels.close(there));
    EXPECT_EQ(news(), (std::vector<std::uint64_t>{here}));
    EXPECT_FALSE(ends().state(here).value().connected);
    EXPECT_EQ(send(here, "x").error(), Error::not_found);
}

TEST_F(ControlChannelTest, a_first_message_is_told_and_no_other_until_all_are_fetched)
{
    const Handle there = open_by_module("bus");
    const std::uint64_t here = open("bus");
    for (unsigned count = 0; count < 3; ++count)
        EXPECT_TRUE(send_by_module(there, "x"));
    EXPECT_EQ(wakes, 1u);
    EXPECT_EQ(news(), (std::vector<std::uint64_t>{here}));
    EXPECT_EQ(take(here), "x");
    EXPECT_TRUE(send_by_module(there, "x"));
    EXPECT_TRUE(news().empty());
    while (!take(here).empty()) {}
    EXPECT_TRUE(send_by_module(there, "y"));
    EXPECT_EQ(news(), (std::vector<std::uint64_t>{here}));
}

TEST_F(ControlChannelTest, eight_wait_at_either_end_and_the_sender_hears_of_it)
{
    const Handle there = open_by_module("bus");
    const std::uint64_t here = open("bus");
    for (char letter = 'a'; letter < 'i'; ++letter) {
        EXPECT_TRUE(send_by_module(there, std::string(512, letter)));
        EXPECT_TRUE(send(here, std::string(512, letter)));
    }
    EXPECT_EQ(send_by_module(there, "x").error(), Error::limit_reached);
    for (char letter = 'a'; letter < 'i'; ++letter)
        EXPECT_EQ(take(here), std::string(512, letter));
    EXPECT_TRUE(send_by_module(there, "there is room again"));
    static_cast<void>(news());
    run();
    EXPECT_TRUE(news().empty()) << "nothing of the control domain's was refused";
    EXPECT_EQ(heard.size(), 8u);
    for (unsigned count = 0; count < 8; ++count)
        EXPECT_TRUE(send(here, "x"));
    EXPECT_EQ(send(here, "refused").error(), Error::limit_reached);
    EXPECT_TRUE(news().empty());
    run();
    EXPECT_EQ(news(), (std::vector<std::uint64_t>{here}));
    EXPECT_TRUE(send(here, "refused"));
}

TEST_F(ControlChannelTest, a_swap_of_the_module_at_the_other_end_is_not_seen)
{
    const Handle there = open_by_module("bus");
    const std::uint64_t here = open("bus");
    EXPECT_TRUE(send(here, "before the swap"));
    EXPECT_TRUE(send_by_module(there, "from the old"));
    ASSERT_NO_FATAL_FAILURE(swap("swap-2"));
    EXPECT_TRUE(ends().state(here).value().connected);
    EXPECT_TRUE(send(here, "after the swap"));
    EXPECT_TRUE(send_by_module(there, "from the new"));
    run();
    EXPECT_EQ(heard, (std::vector<std::string>{"before the swap", "after the swap"}));
    EXPECT_EQ(take(here), "from the old");
    EXPECT_EQ(take(here), "from the new");
}

TEST_F(ControlChannelTest, numbers_and_names_that_lead_nowhere_are_refused)
{
    const std::uint64_t here = open("bus");
    EXPECT_EQ(ends().open("bus").error(), Error::already_exists);
    EXPECT_EQ(ends().open("").error(), Error::invalid_argument);
    EXPECT_EQ(ends().open("with blank").error(), Error::invalid_argument);
    EXPECT_EQ(ends().open(std::string(32, 'n')).error(), Error::invalid_argument);
    EXPECT_EQ(send(here, "").error(), Error::invalid_argument);
    EXPECT_EQ(send(here, std::string(513, 'x')).error(), Error::invalid_argument);
    std::array<std::byte, ControlChannels::longest_message> room;
    const Handle modules = open_by_module("module");
    const std::uint64_t beyond{std::uint64_t{1} << 63};
    for (const std::uint64_t wrong : {std::uint64_t{0}, here + 1, here ^ 0x10000, here ^ beyond, ~here, modules.raw()}) {
        EXPECT_EQ(send(wrong, "x").error(), Error::gone) << wrong;
        EXPECT_EQ(ends().take(wrong, room).error(), Error::gone) << wrong;
        EXPECT_EQ(ends().state(wrong).error(), Error::gone) << wrong;
        EXPECT_EQ(ends().close(wrong).error(), Error::gone) << wrong;
    }
    EXPECT_TRUE(ends().close(here));
    EXPECT_EQ(ends().close(here).error(), Error::gone);
    const std::uint64_t again = open("bus");
    EXPECT_NE(again, here);
    EXPECT_EQ(send(here, "x").error(), Error::gone);
    for (unsigned count = 1; count < ControlChannels::maximum; ++count)
        open("bus-" + std::to_string(count));
    EXPECT_EQ(ends().open("one more").error(), Error::invalid_argument);
    EXPECT_EQ(ends().open("one-more").error(), Error::limit_reached);
}

TEST_F(ControlChannelTest, those_who_go_leave_nothing_behind)
{
    const Handle there = open_by_module("bus");
    const std::uint64_t before = domain->ledger.frames();
    const std::uint64_t here = open("bus");
    EXPECT_TRUE(send_by_module(there, "never fetched"));
    ends().close_all();
    EXPECT_EQ(domain->ledger.frames(), before);
    EXPECT_EQ(send_by_module(there, "x").error(), Error::not_found);
    EXPECT_TRUE(news().empty());
    EXPECT_EQ(send(here, "x").error(), Error::gone);
    const std::uint64_t anew = open("bus");
    static_cast<void>(news());
    ASSERT_TRUE(ExtensionStack::detach(*domain, "swappable", why)) << why.view();
    EXPECT_EQ(news(), (std::vector<std::uint64_t>{anew}));
    EXPECT_EQ(send(anew, "x").error(), Error::not_found);
    // The domain ends with the end open: the fixture looks whether anything is left.
}

}  // namespace
}  // namespace hv::test

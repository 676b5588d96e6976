// SPDX-License-Identifier: MIT
//
// What the input of a call may be: every bit of the input value, every place of the input, every way to hand it in, each against a
// second opinion, a few lines that say from the specification what the status must be [TLFS-6.0b §3.7 to §3.10].
#include <random>

#include "guest.hpp"

namespace hv::viridian::test {
namespace {

constexpr std::uint64_t input_page{0x8000};
constexpr std::uint64_t fast{1 << 16};
constexpr std::uint64_t success{0}, bad_code{2}, bad_input{3}, bad_alignment{4};

struct Described {
    const char* name;
    std::uint16_t code;
    std::uint64_t header;  ///< bytes of its fixed part
    bool banks;            ///< a variable part follows it, of as many words as word `mask` has bits
    std::size_t mask;
    bool rep;  ///< of 8 bytes an element
    std::vector<std::uint64_t> good;

    [[nodiscard]] std::uint64_t good_control() const
    {
        return code | (banks ? 1ull << 17 : 0) | (rep ? 1ull << 32 : 0);
    }
};
const std::vector<Described> described{
    {"FlushVirtualAddressSpace", 0x02, 24, false, 0, false, {0x1000, 0, 1}},
    {"FlushVirtualAddressList", 0x03, 24, false, 0, true, {0x1000, 0, 1, 0x7000}},
    {"NotifyLongSpinWait", 0x08, 8, false, 0, false, {5}},
    {"SendSyntheticClusterIpi", 0x0b, 16, false, 0, false, {0xed, 1}},
    {"FlushVirtualAddressSpaceEx", 0x13, 32, true, 3, false, {0x1000, 0, 0, 1, 1}},
    {"FlushVirtualAddressListEx", 0x14, 32, true, 3, true, {0x1000, 0, 0, 1, 1, 0x7000}},
    {"SendSyntheticClusterIpiEx", 0x15, 24, true, 2, false, {0xed, 0, 1, 1}},
};

std::uint64_t field(std::uint64_t value, unsigned high, unsigned low)
{
    return value >> low & ((std::uint64_t{2} << (high - low)) - 1);
}

/// The result of a call whose good input lies at `address`; nothing: #UD.
std::optional<std::uint64_t> expected(std::uint64_t control, std::uint64_t address, bool vector_input)
{
    const auto call = std::ranges::find(described, field(control, 15, 0), &Described::code);
    if (call == described.end())
        return bad_code;
    const std::uint64_t words{field(control, 26, 17)}, count{field(control, 43, 32)}, start{field(control, 59, 48)};
    const bool reserved{field(control, 31, 27) != 0 || field(control, 47, 44) != 0 || field(control, 63, 60) != 0};
    const bool reps{call->rep ? count > start : count == 0 && start == 0};
    const std::uint64_t bytes{call->header + 8 * words + (call->rep ? 8 * count : 0)};
    if (reserved || !reps || words > (call->banks ? 64 : 0) || ((control & fast) != 0 && bytes > 112))
        return bad_input;
    const std::uint64_t refused{start << 32};  // as far as the call before has come
    if ((control & fast) != 0 && bytes > 16 && !vector_input)
        return std::nullopt;
    if ((control & fast) == 0 && (address % 8 != 0 || address % 4096 + bytes > 4096 || address > ram_bytes - bytes))
        return bad_alignment | refused;
    if (call->banks && words != 1)
        return bad_input | refused;
    return success | count << 32;
}

class ViridianHypercallInput : public testing::TestWithParam<Described> {
protected:
    void SetUp() override
    {
        ASSERT_TRUE(guest.create());
        guest.enable_hypercalls();
    }
    std::optional<std::uint64_t> call(std::uint64_t control, std::uint64_t address)
    {
        const auto& good = GetParam().good;
        if (address % 4096 + good.size() * 8 <= 4096 && address < ram_bytes) {
            EXPECT_TRUE(guest.host.copy(address, const_cast<std::uint64_t*>(good.data()), good.size() * 8, true));
        }
        return guest.call(control, address);
    }
    /// The same by registers: two words, the rest from XMM0 on.
    std::optional<std::uint64_t> call_fast(std::uint64_t control, std::vector<std::uint64_t> words)
    {
        words.resize(std::max<std::size_t>(words.size(), 2));
        put_vectors(guest, words);
        return guest.call(control | fast, words[0], words[1]);
    }
    static void put_vectors(Guest& of, const std::vector<std::uint64_t>& words)
    {
        auto& vectors = of.host.vectors[FakeHost::vcpu_handle(0)];
        vectors.fill(std::byte{0xa5});
        std::memcpy(vectors.data(), words.data() + 2, (words.size() - 2) * 8);
    }
    /// What a call has done, to compare.
    [[nodiscard]] std::size_t deeds() const
    {
        return guest.host.flushes.size() + guest.host.injected.size() + guest.host.yielded.size();
    }

    Guest guest{4};
};

TEST_P(ViridianHypercallInput, TakesEveryBitOfTheInputValueAsTheSpecificationSays)
{
    const std::uint64_t good{GetParam().good_control()};
    ASSERT_EQ(call(good, input_page), success | field(good, 43, 32) << 32);
    for (unsigned bit = 17; bit < 64; ++bit) {
        const std::uint64_t control{good ^ 1ull << bit};
        const std::size_t before{deeds()};
        const auto result = call(control, input_page);
        EXPECT_EQ(result, expected(control, input_page, true)) << "bit " << bit;
        EXPECT_EQ(deeds() - before, (*result & 0xffff) == success ? 1u : 0u) << "bit " << bit;
    }
}

TEST_P(ViridianHypercallInput, IsAlignedAndInOnePageOfTheGuestsMemory)
{
    const std::uint64_t control{GetParam().good_control()};
    const std::uint64_t bytes{GetParam().good.size() * 8};
    for (std::uint64_t offset = 0; offset < 16; ++offset)
        EXPECT_EQ(call(control, input_page + offset), expected(control, input_page + offset, true)) << offset;
    for (const std::uint64_t address : std::initializer_list<std::uint64_t>{
             input_page + 4096 - bytes, input_page + 4104 - bytes, input_page + 4088, ram_bytes - bytes, ram_bytes, ram_bytes + 4096,
             1ull << 52, ~7ull, ~0ull})
        EXPECT_EQ(call(control, address), expected(control, address, true)) << std::hex << address;
    EXPECT_EQ(call(control, input_page + 4096 - bytes).value() & 0xffff, success) << "its last byte is the page's last";
}

TEST_P(ViridianHypercallInput, InTheInputValueIsLookedAtBeforeTheInputsPlace)
{
    EXPECT_EQ(call(GetParam().good_control() | 1ull << 27, 1).value() & 0xffff, bad_input);
    EXPECT_EQ(call(0x7777 | 1ull << 27, 1), bad_code);
}

TEST_P(ViridianHypercallInput, InRegistersDoesWhatItDoesInMemory)
{
    const std::uint64_t control{GetParam().good_control()};
    ASSERT_EQ(call_fast(control, GetParam().good), success | field(control, 43, 32) << 32);
    const auto flushes = guest.host.flushes;
    const auto injected = guest.host.injected;
    ASSERT_EQ(call(control, input_page).value() & 0xffff, success);
    ASSERT_EQ(guest.host.flushes.size(), 2 * flushes.size());
    ASSERT_EQ(guest.host.injected.size(), 2 * injected.size());
    if (!flushes.empty()) {
        EXPECT_EQ(guest.host.flushes[1].vcpus, flushes[0].vcpus);
    }
    if (!injected.empty()) {
        EXPECT_EQ(guest.host.injected[1].vcpu, injected[0].vcpu);
    }
}

TEST_P(ViridianHypercallInput, InRegistersIsWhatSixVectorRegistersHoldAndNoMore)
{
    if (!GetParam().rep)
        return;
    const std::uint64_t head{GetParam().good_control() & ~(0xfffull << 32)};
    const std::uint64_t header{(GetParam().good.size() - 1) * 8};
    for (std::uint64_t count = 1; count < 20; ++count)
        EXPECT_EQ(call_fast(head | count << 32, GetParam().good).value() & 0xffff,
                  header + 8 * count <= 112 ? success : bad_input)
            << count;
}

TEST_P(ViridianHypercallInput, OfA32BitCallerIsTheSame)
{
    const auto& good = GetParam().good;
    const std::uint64_t control{GetParam().good_control()};
    for (const bool by_registers : {false, true}) {
        std::vector<std::uint64_t> words{good};
        words.resize(std::max<std::size_t>(words.size(), 2));
        put_vectors(guest, words);
        const std::uint64_t first{by_registers ? words[0] : input_page}, second{by_registers ? words[1] : 0};
        ASSERT_TRUE(guest.host.copy(input_page, const_cast<std::uint64_t*>(good.data()), good.size() * 8, true));
        abi::HypercallFrame frame{};
        frame.mode = abi::GuestMode::protected_32;
        ext::reg(frame, Register::rax) = page_mark | (control & 0xffff'ffff) | (by_registers ? fast : 0);
        ext::reg(frame, Register::rdx) = control >> 32;
        ext::reg(frame, Register::rbx) = first >> 32;
        ext::reg(frame, Register::rcx) = first & 0xffff'ffff;
        ext::reg(frame, Register::rdi) = second >> 32;
        ext::reg(frame, Register::rsi) = second & 0xffff'ffff;
        const std::size_t before{deeds()};
        ASSERT_EQ(guest.module.hypercall(frame).kind, abi::VerdictKind::done);
        EXPECT_EQ(ext::reg(frame, Register::rax), success);
        EXPECT_EQ(ext::reg(frame, Register::rdx), field(control, 43, 32));
        EXPECT_EQ(deeds(), before + 1);
    }
}

/// All fields at random, where good values are as likely as wild ones.
TEST_P(ViridianHypercallInput, AtRandomIsAnsweredAsTheSecondOpinionSays)
{
    std::mt19937_64 random{GetParam().code};
    const auto one_of = [&](std::initializer_list<std::uint64_t> values) { return values.begin()[random() % values.size()]; };
    for (unsigned round = 0; round < 3000; ++round) {
        std::uint64_t control{random() % 16 == 0 ? random() & 0xffff : GetParam().code};
        control |= one_of({0, 0, 1, 1, 1, 2, 64, 65, 1023}) << 17;
        control |= one_of({0, 1, 1, 1, 2, 500, 507, 4095}) << 32;
        control |= one_of({0, 0, 0, 0, 1, 499, 4095}) << 48;
        control |= random() % 8 == 0 ? 1ull << random() % 64 : 0;
        control &= ~fast;
        const std::uint64_t address{one_of({input_page, input_page, input_page + 8, input_page + 4, input_page + 4040, ram_bytes, ~0ull})};
        const std::size_t before{deeds()};
        const auto known = std::ranges::find(described, field(control, 15, 0), &Described::code);
        if (known != described.end() && known->code != GetParam().code)
            continue;  // its input would not be the good one
        const auto result = call(control, address);
        ASSERT_EQ(result, expected(control, address, true)) << std::hex << control << " at " << address;
        ASSERT_EQ(deeds() - before, (*result & 0xffff) == success ? 1u : 0u);
    }
}

TEST(ViridianVectorInput, ThatIsNotOfferedIsAnUndefinedOpcode)
{
    Guest guest{4};
    ASSERT_TRUE(guest.create({"!input"}));
    guest.enable_hypercalls();
    EXPECT_EQ(guest.module.cpuid(0x4000'0003).edx & 0x10, 0u);
    for (const Described& one : described) {
        const std::uint64_t control{one.good_control() | fast};
        const auto result = guest.call(control, one.good[0], one.good.size() > 1 ? one.good[1] : 0);
        EXPECT_EQ(result, expected(control, 0, false)) << one.name;
    }
}

INSTANTIATE_TEST_SUITE_P(, ViridianHypercallInput, testing::ValuesIn(described),
                         [](const auto& one) { return std::string{one.param.name}; });

}  // namespace
}  // namespace hv::viridian::test

// SPDX-License-Identifier: MIT
//
// The local APIC's registers, in the page and as MSRs.
#include "hv/core/interrupt/local_apic.hpp"

#include <gtest/gtest.h>
#include <map>
#include <set>

using namespace hv;
using namespace hv::core;

namespace {

constexpr std::uint64_t home{0xfee0'0000};
constexpr std::uint64_t xapic{home | 1u << 11};
constexpr std::uint64_t x2apic{xapic | 1u << 10};

struct Xapic : LocalApic {
    explicit Xapic(std::uint32_t id = 3) : LocalApic{{.id = id}} { write(0xf0, 0x1ff); }
    ApicEffect write(std::uint64_t offset, std::uint32_t value) { return write_mmio(offset, 4, value, 0); }
    std::uint64_t read(std::uint64_t offset) { return read_mmio(offset, 4, 0); }
    std::uint64_t errors()
    {
        write(0x280, 0);
        return read(0x280);
    }
};

struct X2apic : LocalApic {
    explicit X2apic(std::uint32_t id = 3) : LocalApic{{.id = id}}
    {
        write_apic_base(x2apic);
        write_msr(0x80f, 0x1ff, 0);
    }
    ApicEffect write(std::uint32_t msr, std::uint64_t value) { return write_msr(msr, value, 0); }
    std::optional<std::uint64_t> read(std::uint32_t msr) { return read_msr(msr, 0); }
};

}  // namespace

TEST(XapicPage, StartsAsTheManualSays)
{
    LocalApic apic{{.id = 3}};
    const std::map<unsigned, std::uint32_t> expected{
        {0x020, 3u << 24}, {0x030, 0x0005'0014}, {0x080, 0},        {0x0a0, 0},        {0x0d0, 0},
        {0x0e0, ~0u},      {0x0f0, 0xff},        {0x280, 0},        {0x300, 0},        {0x310, 0},
        {0x320, 0x1'0000}, {0x330, 0x1'0000},    {0x340, 0x1'0000}, {0x350, 0x1'0000}, {0x360, 0x1'0000},
        {0x370, 0x1'0000}, {0x380, 0},           {0x390, 0},        {0x3e0, 0}};
    for (const auto& [offset, value] : expected)
        EXPECT_EQ(apic.read_mmio(offset, 4, 0), value) << std::hex << offset;
    EXPECT_EQ(apic.apic_base(), xapic);
}

TEST(XapicPage, KeepsExactlyTheDefinedBits)
{
    Xapic apic;
    const std::map<unsigned, std::uint32_t> kept{
        {0x080, 0xff},     {0x0d0, 0xff00'0000}, {0x0f0, 0x3ff},    {0x310, 0xff00'0000},
        {0x320, 0x7'00ff}, {0x330, 0x1'07ff},    {0x340, 0x1'07ff}, {0x350, 0x1'a7ff},
        {0x360, 0x1'a7ff}, {0x370, 0x1'00ff},    {0x3e0, 0xb},      {0x380, ~0u}};
    for (const auto& [offset, mask] : kept)
        for (unsigned bit = 0; bit < 32; ++bit) {
            if (offset == 0x320 && bit == 18)
                continue;  // TSC-deadline mode hides the count
            apic.write(0xf0, 0x1ff);
            apic.write(offset, 1u << bit);
            if (offset == 0x0f0 && bit != 8) {
                EXPECT_EQ(apic.read(offset), (1u << bit) & mask);
                continue;
            }
            EXPECT_EQ(apic.read(offset), (1u << bit) & mask)
                << std::hex << offset << " bit " << std::dec << bit;
        }
    apic.write(0xe0, 0);
    EXPECT_EQ(apic.read(0xe0), 0x0fff'ffffu);
}

TEST(XapicPage, IgnoresWritesToReadOnlyRegistersWithoutAnError)
{
    Xapic apic;
    apic.accept(0x44, TriggerMode::edge);
    for (const unsigned offset :
         {0x020u, 0x030u, 0x090u, 0x0a0u, 0x0c0u, 0x100u, 0x170u, 0x180u, 0x1f0u, 0x200u, 0x270u, 0x390u}) {
        const auto before = apic.save();
        EXPECT_EQ(apic.write(offset, ~0u), ApicEffect{}) << std::hex << offset;
        EXPECT_EQ(apic.save(), before) << std::hex << offset;
    }
    EXPECT_EQ(apic.errors(), 0u);
}

TEST(XapicPage, TellsOtherProcessorsHowItIsAddressed)
{
    Xapic apic{9};
    EXPECT_EQ(apic.addressing().id, 9u);
    EXPECT_FALSE(apic.addressing().cluster_model);
    apic.write(0xd0, 0x2400'0000);
    apic.write(0xe0, 0x0fff'ffff);
    EXPECT_EQ(apic.addressing().logical_id, 0x24);
    EXPECT_TRUE(apic.addressing().cluster_model);
    EXPECT_TRUE(apic.addressing().software_enabled);
    apic.write(0xe0, 0xffff'ffff);
    EXPECT_FALSE(apic.addressing().cluster_model);
    apic.write(0xf0, 0x0ff);
    EXPECT_FALSE(apic.addressing().software_enabled);
    EXPECT_FALSE(apic.addressing().extended);
    apic.write_apic_base(x2apic);
    EXPECT_TRUE(apic.addressing().extended);
    apic.write_apic_base(home);
    EXPECT_FALSE(apic.addressing().enabled);
    EXPECT_EQ(apic.addressing().logical_id, 0);
}

TEST(XapicPage, NotesEveryAddressWithoutARegister)
{
    Xapic apic;
    const std::set<unsigned> registers{0x020, 0x030, 0x080, 0x090, 0x0a0, 0x0b0, 0x0c0, 0x0d0,
                                       0x0e0, 0x0f0, 0x280, 0x300, 0x310, 0x320, 0x330, 0x340,
                                       0x350, 0x360, 0x370, 0x380, 0x390, 0x3e0};
    for (unsigned offset = 0; offset < 0x1000; offset += 16) {
        const bool exists = registers.contains(offset) || (offset >= 0x100 && offset < 0x280);
        apic.errors();
        EXPECT_EQ(apic.read(offset) != 0 && !exists, false);
        EXPECT_EQ(apic.errors(), exists ? 0u : 0x80u) << "read " << std::hex << offset;
        if (exists)
            continue;
        apic.write(offset, 0);
        EXPECT_EQ(apic.errors(), 0x80u) << "write " << std::hex << offset;
    }
}

TEST(XapicPage, ReadsInEveryWidthAndIgnoresNarrowOrMisalignedWrites)
{
    Xapic apic;
    EXPECT_EQ(apic.read_mmio(0x30, 1, 0), 0x14u);
    EXPECT_EQ(apic.read_mmio(0x31, 1, 0), 0x00u);
    EXPECT_EQ(apic.read_mmio(0x32, 2, 0), 0x05u);
    EXPECT_EQ(apic.read_mmio(0x32, 4, 0), 0x05u);
    EXPECT_EQ(apic.read_mmio(0x30, 8, 0), 0x0005'0014u);
    EXPECT_EQ(apic.read_mmio(0x34, 4, 0), 0u);
    EXPECT_EQ(apic.read_mmio(0x3f, 8, 0), 0u);
    const auto before = apic.save();
    for (const unsigned bytes : {1u, 2u})
        apic.write_mmio(0x80, bytes, 0x20, 0);
    for (unsigned skew = 1; skew < 16; ++skew)
        apic.write_mmio(0x80 + skew, 4, 0x20, 0);
    EXPECT_EQ(apic.save(), before);
    apic.write_mmio(0x80, 8, 0x1234'5678'0000'0020, 0);
    EXPECT_EQ(apic.task_priority(), 0x20);
    EXPECT_EQ(apic.errors(), 0u);
}

TEST(XapicPage, MasksLocalVectorsWhileSoftwareDisabled)
{
    Xapic apic;
    apic.write(0x350, 0x700);
    apic.write(0xf0, 0xff);
    EXPECT_EQ(apic.read(0x350), 0x1'0700u);
    apic.write(0x350, 0x700);
    EXPECT_EQ(apic.read(0x350), 0x1'0700u);
    apic.write(0xf0, 0x1ff);
    EXPECT_EQ(apic.read(0x350), 0x1'0700u);
    apic.write(0x350, 0x700);
    EXPECT_EQ(apic.read(0x350), 0x700u);
}

TEST(XapicPage, AnswersAnEoiWithTheVectorThatEnded)
{
    Xapic apic;
    EXPECT_EQ(apic.write(0xb0, 0), ApicEffect{});
    apic.accept(0x91, TriggerMode::level);
    apic.acknowledge();
    const auto effect = apic.write(0xb0, 0x1234);
    EXPECT_EQ(effect.kind, ApicEffect::Kind::end_of_interrupt);
    EXPECT_TRUE(effect.broadcast);
    EXPECT_EQ(effect.message.vector, 0x91);
    EXPECT_EQ(apic.read(0xb0), 0u);
}

TEST(XapicPage, SendsWhatTheCommandRegisterSays)
{
    Xapic apic;
    apic.write(0x310, 0x0500'0000);
    auto effect = apic.write(0x300, 0x0000'0841);
    EXPECT_EQ(effect.kind, ApicEffect::Kind::send);
    EXPECT_EQ(effect.message, (InterruptMessage{.destination = 5,
                                                .vector = 0x41,
                                                .delivery = DeliveryMode::fixed,
                                                .destination_mode = DestinationMode::logical}));
    apic.write(0x310, 0xff00'0000);
    effect = apic.write(0x300, 0x0000'4400);
    EXPECT_EQ(effect.message.destination, InterruptMessage::broadcast);
    EXPECT_EQ(effect.message.delivery, DeliveryMode::nmi);
    effect = apic.write(0x300, 0x000c'4500);
    EXPECT_EQ(effect.message.delivery, DeliveryMode::init);
    EXPECT_EQ(effect.message.shorthand, DestinationShorthand::all_excluding_self);
    effect = apic.write(0x300, 0x0000'4699);
    EXPECT_EQ(effect.message.delivery, DeliveryMode::startup);
    EXPECT_EQ(effect.message.vector, 0x99);
    EXPECT_EQ(apic.read(0x300), 0x0000'4699u);
}

TEST(XapicPage, SendsNothingThatTheManualCallsInvalid)
{
    Xapic apic;
    for (const std::uint32_t command : {0x0000'4300u, 0x0000'4741u,  // reserved, ExtINT
                                        0x0000'8500u,                // INIT level de-assert
                                        0x0004'4500u, 0x0008'4500u,  // INIT to self, to all including self
                                        0x0004'4610u, 0x0008'4610u})
        EXPECT_EQ(apic.write(0x300, command), ApicEffect{}) << std::hex << command;
    EXPECT_EQ(apic.errors(), 0u);
    EXPECT_EQ(apic.write(0x300, 0x4005), ApicEffect{});
    EXPECT_EQ(apic.errors(), 0x20u);
}

TEST(XapicPage, DeliversToItselfAtOnce)
{
    Xapic apic;
    EXPECT_EQ(apic.write(0x300, 0x0004'4055), ApicEffect{});
    EXPECT_EQ(apic.highest_deliverable(), 0x55);
}

TEST(X2apicMsrs, AreRefusedInOtherModes)
{
    Xapic apic;
    for (std::uint32_t msr = 0x800; msr <= 0x8ff; ++msr) {
        EXPECT_EQ(apic.read_msr(msr, 0), std::nullopt);
        EXPECT_EQ(apic.write_msr(msr, 0, 0).kind, ApicEffect::Kind::refused);
    }
    X2apic other;
    EXPECT_EQ(other.read_msr(0x7ff, 0), std::nullopt);
    EXPECT_EQ(other.read_msr(0x900, 0), std::nullopt);
    EXPECT_EQ(other.write_msr(0x900, 0, 0).kind, ApicEffect::Kind::refused);
}

TEST(X2apicMsrs, AreReadableWhereTheManualListsThem)
{
    X2apic apic{0x25};
    std::set<std::uint32_t> readable{0x802, 0x803, 0x808, 0x80a, 0x80d, 0x80f, 0x828, 0x830, 0x832,
                                     0x833, 0x834, 0x835, 0x836, 0x837, 0x838, 0x839, 0x83e};
    for (std::uint32_t msr = 0x810; msr <= 0x827; ++msr)
        readable.insert(msr);
    for (std::uint32_t msr = 0x800; msr <= 0x8ff; ++msr)
        EXPECT_EQ(apic.read(msr).has_value(), readable.contains(msr)) << std::hex << msr;
    EXPECT_EQ(apic.read(0x802), 0x25u);
    EXPECT_EQ(apic.read(0x80d), 0x0002'0020u);
    EXPECT_EQ(apic.read(0x803), 0x0005'0014u);
}

TEST(X2apicMsrs, RefuseEveryReservedBitAndChangeNothing)
{
    std::map<std::uint32_t, std::uint64_t> writable{{0x808, 0xff},
                                                    {0x80b, 0},
                                                    {0x80f, 0x3ff},
                                                    {0x828, 0},
                                                    {0x830, 0xffff'ffff'000c'dfff},
                                                    {0x832, 0x7'10ff},
                                                    {0x833, 0x1'17ff},
                                                    {0x834, 0x1'17ff},
                                                    {0x835, 0x1'f7ff},
                                                    {0x836, 0x1'f7ff},
                                                    {0x837, 0x1'10ff},
                                                    {0x838, 0xffff'ffff},
                                                    {0x83e, 0xb},
                                                    {0x83f, 0xff}};
    for (std::uint32_t msr = 0x800; msr <= 0x8ff; ++msr)
        for (unsigned bit = 0; bit < 64; ++bit) {
            X2apic apic;
            const auto before = apic.save();
            const bool legal = writable.contains(msr) && ((writable[msr] >> bit) & 1) != 0;
            EXPECT_EQ(apic.write(msr, 1ull << bit).kind != ApicEffect::Kind::refused, legal)
                << std::hex << msr << " " << bit;
            if (!legal) {
                EXPECT_EQ(apic.save(), before) << std::hex << msr << " " << bit;
            }
        }
    X2apic apic;
    for (const auto& [msr, mask] : writable)
        EXPECT_NE(apic.write(msr, 0).kind, ApicEffect::Kind::refused) << std::hex << msr;
}

TEST(X2apicMsrs, SendWith32BitDestinations)
{
    X2apic apic;
    auto effect = apic.write(0x830, 0x0001'0004'0000'0841);
    EXPECT_EQ(effect.kind, ApicEffect::Kind::send);
    EXPECT_EQ(effect.message.destination, 0x0001'0004u);
    EXPECT_EQ(effect.message.destination_mode, DestinationMode::logical);
    EXPECT_EQ(apic.read(0x830), 0x0001'0004'0000'0841u);
    effect = apic.write(0x830, 0x0000'00ff'0000'0041);
    EXPECT_EQ(effect.message.destination, 0xffu);  // not a broadcast in this width
}

TEST(X2apicMsrs, HaveASelfIpi)
{
    X2apic apic;
    EXPECT_EQ(apic.write(0x83f, 0x77), ApicEffect{});
    EXPECT_EQ(apic.acknowledge(), 0x77);
    EXPECT_EQ(apic.write(0x80b, 0).kind, ApicEffect::Kind::end_of_interrupt);
    apic.write(0x83f, 0x07);
    apic.write(0x828, 0);
    EXPECT_EQ(apic.read(0x828), 0x20u);
}

TEST(X2apicMsrs, ShowTheStateThatThePageHad)
{
    Xapic apic;
    apic.write(0x80, 0x31);
    apic.accept(0x55, TriggerMode::level);
    apic.acknowledge();
    apic.write_apic_base(x2apic);
    EXPECT_EQ(apic.read_msr(0x808, 0), 0x31u);
    EXPECT_EQ(apic.read_msr(0x812, 0), 1u << 21);
    EXPECT_EQ(apic.read_msr(0x81a, 0), 1u << 21);
    EXPECT_EQ(apic.read_msr(0x80a, 0), 0x50u);
}

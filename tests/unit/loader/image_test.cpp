// SPDX-License-Identifier: MIT
//
// Real modules are verified, placed in real pages, sealed, and their hooks called: what the loader makes must
// run.
#include "hv/loader/load.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "mapped_memory.hpp"
#include "module_file.hpp"

namespace hv::test {
namespace {

using loader::KeptDiagnostics;
using loader::Module;

std::string logged;
std::uint64_t overlays_made{};

abi::Answer unsupported()
{
    return abi::status_not_supported;
}

/// Every service answers `not supported`, but for the few that a test wants.
abi::HostTable fake_host()
{
    abi::HostTable host{};
    host.header = {abi::host_table_magic, abi::abi_major, abi::abi_minor, sizeof host, 0};
    auto* const stub = &unsupported;
    for (std::size_t member = sizeof host.header; member < sizeof host; member += sizeof stub)
        std::memcpy(reinterpret_cast<std::byte*>(&host) + member, &stub, sizeof stub);
    host.log = [](abi::LogLevel, const char* text, std::uint64_t length) {
        logged.assign(text, length);
        return abi::status_ok;
    };
    host.domain_update_begin = [](std::uint64_t) { return abi::status_ok; };
    host.overlay_create = [](std::uint64_t, std::uint64_t* page) {
        *page = 100 + ++overlays_made;
        return abi::status_ok;
    };
    return host;
}

/// A domain and a VCPU for a module's hooks, with room for any state block of the tests.
struct Contexts {
    alignas(16) std::uint64_t domain_state[8]{};
    alignas(16) std::uint64_t vcpu_state[8]{};
    abi::DomainContext domain{.domain = 1,
                              .domain_state = domain_state,
                              .grants = nullptr,
                              .grant_count = 0,
                              .vcpu_count = 1,
                              .start_reason = abi::start_create,
                              .reserved = 0};
    abi::VcpuContext vcpu{.domain = 1,
                          .vcpu = 2,
                          .domain_state = domain_state,
                          .vcpu_state = vcpu_state,
                          .index = 3,
                          .initial_apic_id = 9,
                          .reserved = 0};
};

class LoadedImage : public testing::Test {
protected:
    void load(const std::string& name)
    {
        file_ = ModuleFile::built(name);
        KeptDiagnostics diagnostics;
        ASSERT_TRUE(module_.verify(file_.view(), {}, diagnostics)) << diagnostics.text();
    }
    loader::Image instance()
    {
        auto image = module_.instantiate(memory_, host_);
        EXPECT_TRUE(image.has_value());
        return image.value();
    }
    void release(const loader::Image& image) { memory_.release(image.placement, image.layout); }

    abi::HostTable host_{fake_host()};
    ModuleFile file_;
    Module module_;
    MappedMemory memory_;
    Contexts contexts_;
};

TEST_F(LoadedImage, RunsItsHypercallAndKeepsItsStateInTheBlock)
{
    load("minimal");
    const auto image = instance();
    abi::HypercallFrame frame{};
    frame.general[0] = 1;
    frame.general[7] = 40;
    frame.general[6] = 2;
    const abi::Verdict verdict{image.hooks.hypercall(&contexts_.vcpu, &frame)};
    EXPECT_EQ(verdict.kind, abi::VerdictKind::done);
    EXPECT_EQ(frame.general[0], 42u);
    EXPECT_EQ(contexts_.vcpu_state[0], 1u);
    frame.general[0] = 2;
    EXPECT_EQ(image.hooks.hypercall(&contexts_.vcpu, &frame).kind, abi::VerdictKind::inject);
    release(image);
}

TEST_F(LoadedImage, HasWritableSectionsOfItsOwnInEachInstance)
{
    load("exerciser");
    const auto one = instance();
    const auto other = instance();
    abi::HypercallFrame frame{};
    for (std::uint64_t expected = 1; expected <= 3; ++expected) {
        frame.general[0] = 1;
        one.hooks.hypercall(&contexts_.vcpu, &frame);
        EXPECT_EQ(frame.general[0], expected);
    }
    frame.general[0] = 1;
    other.hooks.hypercall(&contexts_.vcpu, &frame);
    EXPECT_EQ(frame.general[0], 1u);
    release(one);
    release(other);
}

TEST_F(LoadedImage, CallsServicesThroughItsOwnCopyOfTheTable)
{
    load("exerciser");
    const auto image = instance();
    logged.clear();
    EXPECT_EQ(image.hooks.domain_create(&contexts_.domain).kind, abi::VerdictKind::done);
    EXPECT_EQ(logged, "created, 42");
    EXPECT_GT(contexts_.domain_state[1], 100u);  // the overlay's handle
    host_ = {};                                  // ours may go away: the image has its own
    EXPECT_EQ(image.hooks.domain_create(&contexts_.domain).kind, abi::VerdictKind::done);
    EXPECT_EQ(logged, "created, 43");
    release(image);
}

TEST_F(LoadedImage, IsTextThenReadOnlyThenData)
{
    load("exerciser");
    const auto image = instance();
    const auto& layout = image.layout;
    EXPECT_EQ(layout.text.offset, 0u);
    EXPECT_EQ(layout.rodata.offset, layout.text.bytes);
    EXPECT_EQ(layout.data.offset, layout.rodata.offset + layout.rodata.bytes);
    EXPECT_EQ(image.placement.bytes.size(), layout.bytes());
    EXPECT_GT(layout.data.bytes, 0u);
    release(image);
}

using LoadedImageDeathTest = LoadedImage;

TEST_F(LoadedImageDeathTest, CannotWriteItsTextOrItsConstants)
{
    load("exerciser");
    const auto image = instance();
    volatile std::byte* const text{image.placement.bytes.data()};
    volatile std::byte* const rodata{image.placement.bytes.data() + image.layout.rodata.offset};
    EXPECT_DEATH(*text = std::byte{0}, "");
    EXPECT_DEATH(*rodata = std::byte{0}, "");
    image.placement.bytes[image.layout.data.offset] = std::byte{1};
    release(image);
}

TEST_F(LoadedImage, HoldsNothingWhenSealingFails)
{
    load("minimal");
    memory_.refuse_to_seal = true;
    const auto image = module_.instantiate(memory_, host_);
    ASSERT_FALSE(image.has_value());
    EXPECT_EQ(image.error(), Error::not_supported);
    EXPECT_EQ(memory_.held, 0);
}

TEST_F(LoadedImage, FindsEveryHookThatTheClassHasAndNoOther)
{
    load("minimal");
    const auto minimal = instance();
    EXPECT_NE(minimal.hooks.hypercall, nullptr);
    EXPECT_EQ(minimal.hooks.msr_read, nullptr);
    EXPECT_EQ(minimal.hooks.domain_create, nullptr);
    release(minimal);
    load("exerciser");
    for (std::uint32_t hook = 0; hook < abi::hook_count; ++hook)
        EXPECT_TRUE(module_.has_hook(hook)) << hook;
    EXPECT_FALSE(module_.has_hook(abi::hook_count));
}

TEST_F(LoadedImage, NamesTheFunctionOfAnAddress)
{
    load("exerciser");
    const auto image = instance();
    const auto address = reinterpret_cast<std::uint64_t>(image.hooks.timer);
    const auto symbol = module_.symbolise(image, address + 3);
    ASSERT_TRUE(symbol.has_value());
    EXPECT_NE(symbol->name.find("5timer"), std::string_view::npos);
    EXPECT_EQ(symbol->offset, 3u);
    EXPECT_FALSE(module_.symbolise(image, image.placement.address + image.layout.rodata.offset));
    EXPECT_FALSE(module_.symbolise(image, image.placement.address - 1));
    release(image);
}

TEST_F(LoadedImage, SeesNoMoreServicesThanTheHypervisorHas)
{
    load("minimal");
    host_.header.size = 16 + 3 * 8;
    const auto image = instance();
    const auto start =
        image.placement.bytes.begin() + static_cast<std::ptrdiff_t>(image.layout.rodata.offset);
    const std::uint32_t magic{abi::host_table_magic};
    const auto* const found =
        std::search(&*start, &*start + image.layout.rodata.bytes, reinterpret_cast<const std::byte*>(&magic),
                    reinterpret_cast<const std::byte*>(&magic + 1));
    abi::HostTable seen{};
    std::memcpy(&seen, found, sizeof seen);
    EXPECT_EQ(seen.header.size, 16u + 3 * 8);
    EXPECT_TRUE(HV_OFFERS(seen, domain_update_begin));
    EXPECT_FALSE(HV_OFFERS(seen, declare_leaves));
    EXPECT_EQ(seen.channel_close, nullptr);
    release(image);
}

TEST_F(LoadedImage, SaysWhatTheManifestSays)
{
    load("exerciser");
    const auto facts = module_.facts();
    EXPECT_STREQ(facts.name, "exerciser");
    EXPECT_STREQ(facts.description, "has every hook");
    EXPECT_EQ(facts.version_major, 1);
    EXPECT_EQ(facts.version_minor, 2);
    EXPECT_EQ(facts.version_patch, 3);
    EXPECT_EQ(facts.abi_minor, abi::abi_minor);
    EXPECT_EQ(facts.flags, abi::manifest_serial);
    EXPECT_EQ(facts.hash, loader::sha256(file_.view()));
    EXPECT_EQ(module_.manifest().window_count, 6u);
    EXPECT_EQ(module_.manifest().vcpu_state.size, 16u);
    EXPECT_EQ(module_.manifest().vcpu_state.version, 3u);
    EXPECT_EQ(module_.window(1).base, 0x4000'0000u);
    EXPECT_STREQ(module_.parameter(0).key, "features");
    ASSERT_EQ(module_.leaf_count(), 2u);
    EXPECT_EQ(module_.leaf(1).field, abi::VcpuField::index);
    ASSERT_EQ(module_.msr_read_count(), 1u);
    EXPECT_EQ(module_.msr_read(0).kind, abi::MsrReadKind::vcpu_field);
    ASSERT_EQ(module_.msr_write_count(), 1u);
    EXPECT_EQ(module_.msr_write(0).kind, abi::MsrWriteKind::apic_eoi);
    EXPECT_EQ(module_.exit_count(), 0u);
}

TEST_F(LoadedImage, RefusesReservedBitsBeforeTheHandler)
{
    load("exerciser");
    const auto image = instance();
    std::uint64_t value{};
    EXPECT_EQ(image.hooks.msr_write(&contexts_.vcpu, 2, 0, 77).kind, abi::VerdictKind::done);
    const abi::Verdict read{image.hooks.msr_read(&contexts_.vcpu, 2, 0, &value)};
    EXPECT_EQ(value, 77u);
    EXPECT_EQ(read.flags, abi::verdict_unchanged);
    EXPECT_EQ(image.hooks.msr_write(&contexts_.vcpu, 2, 1, 0x10000).kind, abi::VerdictKind::inject);
    EXPECT_EQ(contexts_.domain_state[0], 77u);  // refused means untouched
    EXPECT_EQ(image.hooks.msr_read(&contexts_.vcpu, 2, 1, &value).kind, abi::VerdictKind::inject);
    EXPECT_EQ(image.hooks.msr_read(&contexts_.vcpu, 2, 9, &value).kind, abi::VerdictKind::inject);
    abi::CpuidResult leaf{};
    EXPECT_EQ(image.hooks.cpuid(&contexts_.vcpu, 1, 3, 0, &leaf).kind, abi::VerdictKind::done);
    EXPECT_EQ(leaf, (abi::CpuidResult{.eax = 3, .ebx = 9}));
    leaf = {};
    image.hooks.cpuid(&contexts_.vcpu, 1, 0, 0, &leaf);
    EXPECT_EQ(leaf, abi::CpuidResult{});
    release(image);
}

}  // namespace
}  // namespace hv::test

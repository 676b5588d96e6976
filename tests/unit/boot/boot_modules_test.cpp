// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "foreign_memory.hpp"
#include "hv/core/boot/loader_information.hpp"
#include "newc_builder.hpp"

using namespace hv;
using namespace hv::core;
using hv::test::ForeignMemory;
using hv::test::NewcBuilder;

namespace {

constexpr std::uint64_t base{0x400000};

struct Outcome {
    bool good;
    std::string why;
    BootInformation information;
};

Outcome interpret(ForeignMemory& memory, BootInformation information)
{
    BoundedText<300> why;
    const bool good = interpret_modules(memory.view(), information, why).has_value();
    return {good, std::string{why.view()}, information};
}

Outcome interpret_archive(const std::string& archive)
{
    ForeignMemory memory{base, archive.size()};
    memory.put_bytes(base, archive);
    BootInformation information;
    information.protocol = BootProtocol::pvh;
    EXPECT_TRUE(
        information.raw_modules.push_back({.range = {HostPhysical{base}, archive.size()}, .text = {}}));
    return interpret(memory, information);
}

Outcome interpret_texts(const std::vector<std::string>& texts)
{
    ForeignMemory memory{base, 0};
    BootInformation information;
    information.protocol = BootProtocol::multiboot2;
    std::uint64_t at{base};
    for (const std::string& text : texts) {
        RawModule module{.range = {HostPhysical{at}, 16}, .text = {}};
        EXPECT_TRUE(module.text.assign(text));
        EXPECT_TRUE(information.raw_modules.push_back(module));
        at += page_size;
    }
    return interpret(memory, information);
}

}  // namespace

TEST(PvhArchive, NamesItsParts)
{
    const std::string archive = NewcBuilder{}
                                    .add("kernel", "KKKK")
                                    .add("cmdline", "console=ttyS1 quiet\n")
                                    .add("initramfs", "IIII")
                                    .folder("extensions")
                                    .add("extensions/novell.hvx", "NNNN")
                                    .add("extensions/viridian-2.hvx.sig", "SSSS")
                                    .add("extensions/viridian-2.hvx", "VVVV")
                                    .add("keys/vendor", "PPPP")
                                    .finish();
    const Outcome outcome = interpret_archive(archive);
    ASSERT_TRUE(outcome.good) << outcome.why;
    EXPECT_EQ(outcome.information.control_command_line.view(), "console=ttyS1 quiet");
    ASSERT_EQ(outcome.information.modules.size(), 6);
    EXPECT_EQ(outcome.information.find(BootModuleKind::control_kernel)->range,
              (HostRange{HostPhysical{base + archive.find("KKKK")}, 4}));
    EXPECT_EQ(outcome.information.modules[4].name.view(), "viridian-2");
    EXPECT_EQ(outcome.information.modules[4].kind, BootModuleKind::extension);
    const BootModule* const signature = outcome.information.find(BootModuleKind::signature, "viridian-2");
    ASSERT_NE(signature, nullptr);
    EXPECT_EQ(signature->range, (HostRange{HostPhysical{base + archive.find("SSSS")}, 4}));
    EXPECT_EQ(outcome.information.find(BootModuleKind::signature, "novell"), nullptr);
    EXPECT_EQ(outcome.information.find(BootModuleKind::key)->name.view(), "vendor");
}

TEST(PvhArchive, WhatHasNoPurposeStopsTheBoot)
{
    EXPECT_NE(interpret_archive(NewcBuilder{}.add("vmlinuz", "x").finish()).why.find("\"vmlinuz\""),
              std::string::npos);
    EXPECT_FALSE(interpret_archive(NewcBuilder{}.add("extensions/readme", "x").finish()).good);
    EXPECT_FALSE(interpret_archive(NewcBuilder{}.add("extensions/.hvx", "x").finish()).good);
    EXPECT_FALSE(interpret_archive(NewcBuilder{}.add("kernel", "x").add("./kernel", "y").finish()).good);
    EXPECT_FALSE(
        interpret_archive(NewcBuilder{}.add("extensions/a.hvx", "x").add("extensions/a.hvx", "y").finish())
            .good);
    EXPECT_FALSE(interpret_archive(NewcBuilder{}.add("cmdline", std::string("a\0b", 3)).finish()).good);
    EXPECT_FALSE(interpret_archive(NewcBuilder{}.add("extensions/.hvx.sig", "x").finish()).good);
    EXPECT_EQ(interpret_archive(NewcBuilder{}.add("extensions/a.hvx.sig", "x").finish()).why,
              "there is a signature, and no extension, with the name \"a\"");
    EXPECT_FALSE(interpret_archive(NewcBuilder{}.add("cmdline", std::string(3000, 'a')).finish()).good);
}

TEST(PvhArchive, AnythingElseIsSaidToBeNoArchive)
{
    const Outcome outcome = interpret_archive("this is a kernel, not an archive");
    EXPECT_FALSE(outcome.good);
    EXPECT_EQ(outcome.why, "the boot module is not a cpio archive in the newc format (at byte 0)");
}

TEST(Multiboot2Modules, AreNamedByTheirTexts)
{
    const Outcome outcome = interpret_texts(
        {"dom0-kernel root=/dev/vda  console=tty0 ", "dom0-initramfs", "extension novell", "key vendor"});
    ASSERT_TRUE(outcome.good) << outcome.why;
    EXPECT_EQ(outcome.information.control_command_line.view(), "root=/dev/vda  console=tty0");
    ASSERT_EQ(outcome.information.modules.size(), 4);
    EXPECT_EQ(outcome.information.find(BootModuleKind::control_kernel)->range.begin, HostPhysical{base});
    EXPECT_EQ(outcome.information.find(BootModuleKind::extension)->name.view(), "novell");
    EXPECT_EQ(outcome.information.find(BootModuleKind::key)->range.begin, HostPhysical{base + 3 * page_size});
}

TEST(Multiboot2Modules, WhatHasNoPurposeStopsTheBoot)
{
    for (const char* text : {"", "dom0-kernels", "dom0-initramfs extra", "extension", "key", "/boot/vmlinuz"})
        EXPECT_FALSE(interpret_texts({text}).good) << text;
    EXPECT_FALSE(interpret_texts({"dom0-kernel", "dom0-kernel"}).good);
    EXPECT_FALSE(interpret_texts({"key a", "key a"}).good);
    EXPECT_FALSE(interpret_texts({"extension " + std::string(65, 'n')}).good);
    EXPECT_TRUE(interpret_texts({"key a", "signature a", "extension a"}).good);
    EXPECT_FALSE(interpret_texts({"key a", "signature a"}).good);
    EXPECT_FALSE(interpret_texts({"extension a", "signature a", "signature a"}).good);
    EXPECT_FALSE(interpret_texts({"extension a", "signature"}).good);
}

// SPDX-License-Identifier: MIT
//
// Subscriptions to exits that are not to be had, or make no sense: each is refused by its name, before anything of the module
// runs; and the limits of what is to be had.
#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "module_file.hpp"

namespace hv::test {

struct Subscribed {
    const char* name;
    std::size_t index;  ///< of the module's table that it takes the place of
    abi::ExitSubscription wanted;
    Error error;
    const char* sentence;  ///< part of it
};

void PrintTo(const Subscribed& one, std::ostream* out) { *out << one.name; }

namespace {

using Kind = abi::ExitKind;

Status verify(std::size_t index, const abi::ExitSubscription& wanted, loader::KeptDiagnostics& diagnostics)
{
    auto file = ModuleFile::built("subscriber");
    file.put(file.object("exits_of") + index * sizeof wanted, wanted);
    loader::Module module;
    return module.verify(file.view(), {}, diagnostics);
}

constexpr Subscribed refused[]{
    {"NoKind", 0, {static_cast<Kind>(0), 0, 0, 0}, Error::malformed, "exits of kind 0, which there is not"},
    {"KindBeyond", 0, {static_cast<Kind>(13), 0, 0, 0}, Error::malformed, "exits of kind 13, which there is not"},
    {"KindFarBeyond", 0, {static_cast<Kind>(0xffff'ffff), 0, 0, 0}, Error::malformed, "which there is not"},
    {"StepAfterwards", 0, {Kind::single_step, abi::exit_after, 0, 1}, Error::not_supported, "'single_step' from 0x0 to 0x1, which"},
    {"StepBeyond", 0, {Kind::single_step, 0, 0, 2}, Error::malformed, "kind 'single_step' from 0x0 to 0x2"},
    {"DirectionOfAStep", 0, {Kind::single_step, abi::exit_reads, 0, 1}, Error::malformed, "kind 'single_step' has flags 0x4"},
    {"PageAfterwards", 0, {Kind::page_watch, abi::exit_after, 1, 1}, Error::not_supported, "'page_watch' from 0x1 to 0x1, which this"},
    {"PageBeyond", 0, {Kind::page_watch, 0, 1, 1ull << 36}, Error::malformed, "kind 'page_watch' from 0x1 to 0x1000000000"},
    {"ExecutionOfALeaf", 0, {Kind::cpuid, abi::exit_executes, 0, 0}, Error::malformed, "kind 'cpuid' has flags 0x20"},
    {"ExecutionOfAPort", 1, {Kind::port, abi::exit_executes, 1, 1}, Error::malformed, "kind 'port' has flags 0x20"},
    {"UnknownFlag", 0, {Kind::cpuid, 1 << 7, 0, 0}, Error::malformed, "has flags 0x80, which make no sense"},
    {"InsteadAndAfter", 1, {Kind::port, abi::exit_instead | abi::exit_after, 1, 1}, Error::malformed, "has flags 0x3, which"},
    {"DirectionOfALeaf", 0, {Kind::cpuid, abi::exit_reads, 0, 0}, Error::malformed, "kind 'cpuid' has flags 0x4"},
    {"DirectionOfAHalt", 0, {Kind::halt, abi::exit_writes, 0, 0}, Error::malformed, "kind 'halt' has flags 0x8"},
    {"Condition", 0, {Kind::cpuid, 65u << abi::exit_condition_shift, 0, 0}, Error::malformed, "make no sense"},
    {"Backwards", 0, {Kind::cpuid, 0, 2, 1}, Error::malformed, "from 0x2 to 0x1"},
    {"LeafBeyond", 0, {Kind::cpuid, 0, 0, 1ull << 32}, Error::malformed, "to 0x100000000"},
    {"MsrBeyond", 0, {Kind::msr, 0, 0, 1ull << 32}, Error::malformed, "kind 'msr' from 0x0 to 0x100000000"},
    {"PortBeyond", 1, {Kind::port, 0, 0, 0x1'0000}, Error::malformed, "kind 'port' from 0x0 to 0x10000"},
    {"VectorBeyond", 3, {Kind::exception, 0, 0, 32}, Error::malformed, "kind 'exception' from 0x0 to 0x20"},
    {"ControlBeyond", 2, {Kind::control_register, 0, 3, 16}, Error::malformed, "kind 'control_register' from 0x3 to 0x10"},
    {"DebugBeyond", 4, {Kind::debug_register, 0, 0, 8}, Error::malformed, "kind 'debug_register' from 0x0 to 0x8"},
    {"NumberOfAHalt", 0, {Kind::halt, 0, 0, 1}, Error::malformed, "kind 'halt' from 0x0 to 0x1"},
    {"NumberOfAPause", 0, {Kind::pause, 0, 1, 1}, Error::malformed, "kind 'pause' from 0x1 to 0x1"},
    {"NumberOfTheClock", 0, {Kind::read_tsc, 0, 1, 1}, Error::malformed, "kind 'read_tsc' from 0x1 to 0x1"},
    {"NumberOfAnInvalidation", 0, {Kind::invalidate_page, 0, 1, 1}, Error::malformed, "kind 'invalidate_page' from 0x1"},
    {"Control1", 2, {Kind::control_register, 0, 1, 1}, Error::not_supported, "from 0x1 to 0x1, which this hypervisor"},
    {"Control5", 2, {Kind::control_register, 0, 2, 5}, Error::not_supported, "from 0x2 to 0x5, which this hypervisor"},
    {"Nmi", 3, {Kind::exception, 0, 2, 2}, Error::not_supported, "from 0x2 to 0x2, which this hypervisor"},
    {"Breakpoint", 3, {Kind::exception, 0, 3, 3}, Error::not_supported, "from 0x3 to 0x3, which this hypervisor"},
    {"Overflow", 3, {Kind::exception, 0, 4, 4}, Error::not_supported, "from 0x4 to 0x4, which this hypervisor"},
    {"DoubleFault", 3, {Kind::exception, 0, 8, 8}, Error::not_supported, "from 0x8 to 0x8, which this hypervisor"},
    {"MachineCheck", 3, {Kind::exception, 0, 18, 18}, Error::not_supported, "from 0x12 to 0x12, which this hypervisor"},
    {"AllExceptions", 3, {Kind::exception, 0, 0, 31}, Error::not_supported, "from 0x0 to 0x1f, which this hypervisor"},
};

constexpr Subscribed accepted[]{
    {"AllLeaves", 0, {Kind::cpuid, abi::exit_instead, 0, 0xffff'ffff}, {}, ""},
    {"AllMsrs", 0, {Kind::msr, abi::exit_reads | abi::exit_writes, 0, 0xffff'ffff}, {}, ""},
    {"AllPorts", 0, {Kind::port, abi::exit_after, 0, 0xffff}, {}, ""},
    {"LastCondition", 0, {Kind::halt, 64u << abi::exit_condition_shift, 0, 0}, {}, ""},
    {"Control0", 2, {Kind::control_register, abi::exit_instead, 0, 0}, {}, ""},
    {"Control8", 2, {Kind::control_register, 0, 8, 8}, {}, ""},
    {"ExceptionInstead", 3, {Kind::exception, abi::exit_instead, 14, 14}, {}, ""},
    {"AnyExceptionThatExitsAnyway", 3, {Kind::exception, abi::exit_passive, 0, 31}, {}, ""},
    {"AllDebugRegisters", 4, {Kind::debug_register, abi::exit_instead, 0, 7}, {}, ""},
    {"Pages", 0, {Kind::page_watch, abi::exit_instead | abi::exit_writes | abi::exit_executes, 0, (1ull << 36) - 1}, {}, ""},
    {"Steps", 0, {Kind::single_step, abi::exit_instead, abi::step_instruction, abi::step_delivery}, {}, ""},
    {"Deliveries", 0, {Kind::single_step, abi::exit_passive, abi::step_delivery, abi::step_delivery}, {}, ""},
    {"Pause", 0, {Kind::pause, 0, 0, 0}, {}, ""},
    {"Clock", 0, {Kind::read_tsc, abi::exit_instead, 0, 0}, {}, ""},
    {"Invalidation", 0, {Kind::invalidate_page, abi::exit_after, 0, 0}, {}, ""},
};

class RefusedSubscription : public testing::TestWithParam<Subscribed> {};
class AcceptedSubscription : public testing::TestWithParam<Subscribed> {};

TEST_P(RefusedSubscription, IsRefusedByItsName)
{
    loader::KeptDiagnostics diagnostics;
    const auto status = verify(GetParam().index, GetParam().wanted, diagnostics);
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error(), GetParam().error) << diagnostics.text();
    EXPECT_NE(diagnostics.text().find(GetParam().sentence), std::string_view::npos) << diagnostics.text();
}

TEST_P(AcceptedSubscription, IsAccepted)
{
    loader::KeptDiagnostics diagnostics;
    EXPECT_TRUE(verify(GetParam().index, GetParam().wanted, diagnostics)) << diagnostics.text();
}

constexpr auto name_of = [](const auto& info) { return std::string{info.param.name}; };
INSTANTIATE_TEST_SUITE_P(, RefusedSubscription, testing::ValuesIn(refused), name_of);
INSTANTIATE_TEST_SUITE_P(, AcceptedSubscription, testing::ValuesIn(accepted), name_of);

}  // namespace
}  // namespace hv::test

// SPDX-License-Identifier: MIT
#include "record_world.hpp"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "fake_backend.hpp"
#include "fake_platform.hpp"
#include "hv/core/diag/log.hpp"

namespace hv::fuzz {
namespace {

using namespace core;
using Why = BoundedText<400>;

/// Between them: blocks that the core copies, one that grew, two that an import_state converts, and none at all.
constexpr const char* names[RecordWorld::modules]{"viridian", "novell", "novell-poll", "xen-pv", "swap-converts"};

x86::CpuidResult no_cpuid(std::uint32_t, std::uint32_t)
{
    return {};
}

[[noreturn]] void give_up(const char* name, std::string_view why)
{
    std::fprintf(stderr, "%s: %.*s\n", name, static_cast<int>(why.size()), why.data());
    std::abort();
}

std::vector<std::byte> file_of(const std::string& name)
{
    std::ifstream stream{std::string{HVX_FOLDER} + "/" + name + "/" + name + ".hvx", std::ios::binary};
    std::vector<char> bytes{std::istreambuf_iterator<char>{stream}, {}};
    const auto* const begin = reinterpret_cast<const std::byte*>(bytes.data());
    return {begin, begin + bytes.size()};
}

}  // namespace

RecordWorld::RecordWorld()
{
    fake::reset_platform(2);
    fake::set_current_processor(1);
    set_log_level(LogLevel::error);
    HV_ASSERT(frames_.add_range({HostPhysical{1 << 20}, 512ull << 20}));
    ledger_ = std::make_unique<Ledger>();
    heap_ = std::make_unique<Heap>(frames_, *ledger_);
    machine_.reset(new Machine{frames_, *ledger_, *heap_, fake::reset_backend(), no_cpuid});
    install_machine(*machine_);
    machine_->scheduler.initialise(1, 1, platform::ticks_per_second(), [](unsigned processor) { machine().attend(processor); });
    registry_ = std::make_unique<ModuleRegistry>(*heap_);
    Why why;
    for (const char* const name : names)
        if (!registry_->load(file_of(name), {}, name, why))
            give_up(name, why.view());
    for (std::size_t kind = 0; kind < kinds; ++kind)
        domains_.push_back(&make_domain(kind));
    for (std::size_t kind = 0; kind < kinds; ++kind)
        make_fresh(kind);
}

RecordWorld::~RecordWorld()
{
    for (Fresh& one : fresh_)
        one.instance.reset();
    for (Domain* const domain : domains_)
        end_domain(*domain);
    registry_.reset();
    HV_ASSERT(heap_->allocations() == 0 && ledger_->frames() == 0);
}

Binding& RecordWorld::standing(std::size_t kind)
{
    return *domains_.at(kind)->extensions->implementation().bindings[0];
}

void RecordWorld::make_fresh(std::size_t kind)
{
    Binding& old = standing(kind);
    auto made = make<Binding>(old.domain.heap, old.domain, old.module, old.holdings, old.options);
    Why why;
    HV_ASSERT(made && made.value()->create_beside(old, why));
    fresh_[kind] = {std::move(made.value()), 0};
}

void RecordWorld::refresh(std::size_t kind)
{
    constexpr unsigned most_imports{64};  // then its end is looked at, too
    Fresh& used = fresh_.at(kind);
    Binding& instance = *used.instance;
    const bool ran = instance.context.start_reason == abi::start_import;  // import_state() says so before the first hook
    if (ran || ++used.imports == most_imports) {
        used.instance.reset();
        make_fresh(kind);
        return;
    }
    instance.state.clear();
    for (unsigned index = 0; index < instance.vcpu_count; ++index)
        instance.vcpus[index]->state.clear();
}

Domain& RecordWorld::make_domain(std::size_t kind)
{
    const auto made = Domain::create(next_domain_++, {.name = "guest", .memory_bytes = 1 << 20, .vcpus = 2});
    HV_ASSERT(made);
    const BindOptions options{.placement = kind < modules ? Placement::trusted : Placement::isolated,
                              .on_fault = OnFault::crash};
    Why why;
    BoundedText<100> field;
    Module& module = registry_->at(kind % modules);
    if (!ExtensionStack::bind(*made.value(), module, {}, options, why, field))
        give_up(names[kind % modules], why.view());
    return *made.value();
}

void RecordWorld::end_domain(Domain& domain)
{
    domain.end(EndReason::destroyed);
    Domain::destroy(&domain);
}

}  // namespace hv::fuzz

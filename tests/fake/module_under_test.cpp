// SPDX-License-Identifier: MIT
//
// Loading, binding and asking.  Places images in mapped pages that are sealed as in the hypervisor.
#include "module_under_test.hpp"

#include <sys/mman.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "rules.hpp"

namespace hv::test {

namespace {

class Pages final : public loader::ModuleMemory {
public:
    Expected<loader::Placement> reserve(const loader::ImageLayout& layout) override
    {
        void* const pages{
            mmap(nullptr, layout.bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)};
        if (pages == MAP_FAILED)
            return Error::no_memory;
        return loader::Placement{{static_cast<std::byte*>(pages), layout.bytes()},
                                 reinterpret_cast<std::uint64_t>(pages)};
    }
    Status seal(const loader::Placement& placement, const loader::ImageLayout& layout) override
    {
        std::byte* const base{placement.bytes.data()};
        mprotect(base + layout.text.offset, layout.text.bytes, PROT_READ | PROT_EXEC);
        mprotect(base + layout.rodata.offset, layout.rodata.bytes, PROT_READ);
        return Done{};
    }
    void release(const loader::Placement& placement, const loader::ImageLayout&) override
    {
        munmap(placement.bytes.data(), placement.bytes.size());
    }
};

std::vector<std::byte> bytes_of(const std::string& path)
{
    std::ifstream stream{path, std::ios::binary};
    const std::string text{std::istreambuf_iterator<char>{stream}, std::istreambuf_iterator<char>{}};
    const auto bytes = std::as_bytes(std::span{text});
    return {bytes.begin(), bytes.end()};
}

constexpr abi::Verdict nobody{abi::inject_undefined_opcode};

}  // namespace

ModuleUnderTest::ModuleUnderTest(FakeHost& host, const std::string& file, std::uint32_t vcpus,
                                 const abi::HostTable& services)
    : host_{host}, file_{bytes_of(file)}, module_{std::make_unique<loader::Module>()}
{
    loader::KeptDiagnostics diagnostics;
    if (!module_->verify(file_, {}, diagnostics))
        throw std::runtime_error{file + ": " + std::string{diagnostics.text()}};
    Pages pages;
    image_ = module_->instantiate(pages, services).value();
    host_.vcpu_count = vcpus;
    grant_windows();
    const auto& manifest = module_->manifest();
    domain_state_.resize(manifest.domain_state.size / 8 + 1);
    vcpu_states_.resize(vcpus);
    for (std::uint32_t index = 0; index < vcpus; ++index) {
        vcpu_states_[index].resize(manifest.vcpu_state.size / 8 + 1);
        vcpus_.push_back({.domain = FakeHost::domain_handle,
                          .vcpu = FakeHost::vcpu_handle(index),
                          .domain_state = domain_state_.data(),
                          .vcpu_state = vcpu_states_[index].data(),
                          .index = index,
                          .initial_apic_id = index,
                          .reserved = 0});
    }
    domain_ = {.domain = FakeHost::domain_handle,
               .domain_state = domain_state_.data(),
               .grants = grants_.data(),
               .grant_count = static_cast<std::uint32_t>(grants_.size()),
               .vcpu_count = vcpus,
               .start_reason = abi::start_create,
               .reserved = 0};
    for (std::uint32_t index = 0; index < module_->leaf_count(); ++index)
        host_.leaves.push_back(module_->leaf(index));
    for (std::uint32_t index = 0; index < module_->msr_read_count(); ++index)
        host_.msr_reads.push_back(module_->msr_read(index));
    for (std::uint32_t index = 0; index < module_->msr_write_count(); ++index)
        host_.msr_writes.push_back(module_->msr_write(index));
}

ModuleUnderTest::~ModuleUnderTest()
{
    Pages{}.release(image_.placement, image_.layout);
}

void ModuleUnderTest::grant_windows()
{
    std::uint64_t next_block{abi::cpuid_first_block};
    std::uint64_t next_msr{0x4000'0200};
    for (std::uint32_t index = 0; index < module_->manifest().window_count; ++index) {
        const auto want = module_->window(index);
        abi::WindowGrant grant{want.id, want.kind, 1, 0, want.base, want.length};
        if (want.kind == abi::WindowKind::cpuid && want.base == 0)
            grant.base = next_block;
        if (want.kind == abi::WindowKind::cpuid)
            next_block = grant.base + abi::cpuid_block_stride;
        if (want.kind == abi::WindowKind::msr && want.base == 0) {
            grant.base = next_msr;
            next_msr += want.length;
        }
        grants_.push_back(grant);
    }
}

const abi::WindowGrant& ModuleUnderTest::grant(std::uint32_t window) const
{
    for (const auto& one : grants_)
        if (one.id == window)
            return one;
    throw std::runtime_error{"no such window"};
}

template <typename Call>
abi::Verdict ModuleUnderTest::call(std::optional<std::uint32_t> vcpu, Call hook)
{
    const auto domain_before = domain_state_;
    const auto vcpus_before = vcpu_states_;
    host_.domain_update_held = false;
    last_ = hook();
    if (last_.kind < abi::VerdictKind::done || last_.kind > abi::VerdictKind::refuse)
        rule_broken("a hook returned no verdict");
    if ((last_.flags & ~abi::verdict_known_flags) != 0)
        rule_broken("a verdict has unknown flags");
    if (!host_.domain_update_held && domain_state_ != domain_before)
        rule_broken("the domain's block was written without domain_update_begin");
    for (std::uint32_t index = 0; index < vcpu_states_.size(); ++index) {
        const bool may_change{index == vcpu && (last_.flags & abi::verdict_unchanged) == 0};
        if (!may_change && vcpu_states_[index] != vcpus_before[index])
            rule_broken("the block of VCPU " + std::to_string(index) +
                        " was written against the verdict or the rules");
    }
    return last_;
}

bool ModuleUnderTest::set_parameter(const abi::Parameter& parameter)
{
    if (hooks().parameter_set == nullptr)
        return false;
    return call({}, [&] { return hooks().parameter_set(&domain_, &parameter); }).kind ==
           abi::VerdictKind::done;
}

bool ModuleUnderTest::parameter(const std::string& key, bool value)
{
    return set_parameter({.key = key.data(),
                          .text = nullptr,
                          .number = value ? 1 : 0,
                          .key_length = static_cast<std::uint32_t>(key.size()),
                          .text_length = 0,
                          .kind = abi::ParameterKind::boolean,
                          .index = 0,
                          .count = 1,
                          .reserved = 0});
}

bool ModuleUnderTest::parameter(const std::string& key, std::int64_t value)
{
    return set_parameter({.key = key.data(),
                          .text = nullptr,
                          .number = value,
                          .key_length = static_cast<std::uint32_t>(key.size()),
                          .text_length = 0,
                          .kind = abi::ParameterKind::integer,
                          .index = 0,
                          .count = 1,
                          .reserved = 0});
}

bool ModuleUnderTest::parameter(const std::string& key, const std::string& value, std::uint32_t index,
                                std::uint32_t count)
{
    return set_parameter({.key = key.data(),
                          .text = value.data(),
                          .number = 0,
                          .key_length = static_cast<std::uint32_t>(key.size()),
                          .text_length = static_cast<std::uint32_t>(value.size()),
                          .kind = abi::ParameterKind::text,
                          .index = index,
                          .count = count,
                          .reserved = 0});
}

bool ModuleUnderTest::create()
{
    if (hooks().domain_create != nullptr &&
        call({}, [&] { return hooks().domain_create(&domain_); }).kind != abi::VerdictKind::done)
        return false;
    for (std::uint32_t page = 0; page < module_->manifest().hypercall_pages; ++page) {
        auto& bytes = host_.hypercall_pages[page];
        bytes.fill(0xcc);
        abi::HypercallPageRequest request{};
        request.page = page;
        request.instruction_length = static_cast<std::uint32_t>(host_.hypercall_instruction.size());
        std::ranges::copy(host_.hypercall_instruction, request.instruction);
        request.bytes = bytes.data();
        if (call({}, [&] { return hooks().hypercall_page(&domain_, &request); }).kind !=
            abi::VerdictKind::done)
            return false;
    }
    for (std::uint32_t index = 0; index < vcpus_.size() && hooks().vcpu_initialise != nullptr; ++index)
        if (call(index, [&] { return hooks().vcpu_initialise(&vcpus_[index]); }).kind !=
            abi::VerdictKind::done)
            return false;
    return true;
}

void ModuleUnderTest::destroy()
{
    for (std::uint32_t index = 0; index < vcpus_.size() && hooks().vcpu_destroy != nullptr; ++index)
        call(index, [&] { return hooks().vcpu_destroy(&vcpus_[index]); });
    if (hooks().domain_destroy != nullptr)
        call({}, [&] { return hooks().domain_destroy(&domain_); });
}

const abi::WindowGrant* ModuleUnderTest::owner(abi::WindowKind kind, std::uint64_t number) const
{
    for (const auto& one : grants_)
        if (one.kind == kind && number >= one.base && number - one.base < one.length)
            return &one;
    return nullptr;
}

bool ModuleUnderTest::holds(std::uint32_t condition) const
{
    return condition == abi::condition_always || host_.conditions.contains(condition);
}

abi::CpuidResult ModuleUnderTest::cpuid(std::uint32_t leaf, std::uint32_t subleaf, std::uint32_t vcpu)
{
    const auto* const window = owner(abi::WindowKind::cpuid, leaf);
    if (window == nullptr)
        return {};
    const auto relative = static_cast<std::uint32_t>(leaf - window->base);
    for (const auto& one : host_.leaves) {
        if (one.window != window->id || one.leaf != relative || !holds(one.condition) ||
            ((one.flags & abi::leaf_any_subleaf) == 0 && one.subleaf != subleaf))
            continue;
        abi::CpuidResult result{one.values};
        if ((one.flags & abi::leaf_eax_plus_base) != 0)
            result.eax += static_cast<std::uint32_t>(window->base);
        std::uint32_t* const registers[]{&result.eax, &result.ebx, &result.ecx, &result.edx};
        if (one.field != abi::VcpuField::none)
            *registers[one.field_register] |= vcpu << one.field_shift;
        return result;
    }
    abi::CpuidResult result{};
    if (hooks().cpuid != nullptr)
        call(vcpu, [&] { return hooks().cpuid(&vcpus_.at(vcpu), window->id, relative, subleaf, &result); });
    return result;
}

std::uint64_t ModuleUnderTest::declared(const abi::DeclaredMsrRead& read, std::uint32_t vcpu) const
{
    const auto field_of = [&](const std::vector<std::uint64_t>& block) {
        return block.at(read.argument / 8);
    };
    auto& apic = host_.apic[FakeHost::vcpu_handle(vcpu)];
    switch (read.kind) {
    case abi::MsrReadKind::vcpu_field: return vcpu;
    case abi::MsrReadKind::scaled_time:
        return static_cast<std::uint64_t>(static_cast<unsigned __int128>(host_.now_ns) * read.value >>
                                          read.argument) +
               read.addend;
    case abi::MsrReadKind::apic_register: return apic[read.argument];
    case abi::MsrReadKind::apic_icr: return apic[0x310] << 32 | apic[0x300];
    case abi::MsrReadKind::domain_state: return field_of(domain_state_);
    case abi::MsrReadKind::vcpu_state: return field_of(vcpu_states_.at(vcpu));
    case abi::MsrReadKind::constant:
    case abi::MsrReadKind::withdrawn:
    case abi::MsrReadKind::general_protection: break;
    }
    return read.value;
}

std::optional<std::uint64_t> ModuleUnderTest::read_msr(std::uint32_t msr, std::uint32_t vcpu)
{
    const auto* const window = owner(abi::WindowKind::msr, msr);
    if (window == nullptr)
        return std::nullopt;
    const auto offset = static_cast<std::uint32_t>(msr - window->base);
    for (const auto& one : host_.msr_reads)
        if (one.window == window->id && one.offset == offset && holds(one.condition)) {
            if (one.kind == abi::MsrReadKind::general_protection)
                return std::nullopt;
            return declared(one, vcpu);
        }
    if (hooks().msr_read == nullptr)
        return std::nullopt;
    std::uint64_t value{};
    const auto verdict =
        call(vcpu, [&] { return hooks().msr_read(&vcpus_.at(vcpu), window->id, offset, &value); });
    if (verdict.kind != abi::VerdictKind::done && verdict.kind != abi::VerdictKind::block)
        return std::nullopt;
    return value;
}

bool ModuleUnderTest::move_deadline(abi::DeadlinePlaces places, std::uint64_t value, std::uint32_t vcpu)
{
    auto& block = vcpu_states_.at(vcpu);
    const auto found = host_.timers.find(block.at(places.timer_at / 8));
    if (value == 0 || found == host_.timers.end() || found->second.vcpu != FakeHost::vcpu_handle(vcpu) || !found->second.last ||
        found->second.last->period_ns != 0)
        return false;
    auto& timer = found->second;
    if (__builtin_mul_overflow(value, std::uint64_t{places.unit_ns}, &timer.last->deadline_ns))
        timer.last->deadline_ns = ~0ull;
    timer.setting = timer.last;
    block.at(places.value_at / 8) = value;
    return true;
}

bool ModuleUnderTest::write_msr(std::uint32_t msr, std::uint64_t value, std::uint32_t vcpu)
{
    const auto* const window = owner(abi::WindowKind::msr, msr);
    if (window == nullptr)
        return false;
    const auto offset = static_cast<std::uint32_t>(msr - window->base);
    auto& apic = host_.apic[FakeHost::vcpu_handle(vcpu)];
    for (const auto& one : host_.msr_writes) {
        if (one.window != window->id || one.offset != offset || !holds(one.condition))
            continue;
        if ((value & ~one.writable) == 0 && one.kind == abi::MsrWriteKind::deadline) {
            if (move_deadline(abi::deadline_places(one), value, vcpu))
                return true;
            break;
        }
        if ((value & ~one.writable) != 0 || one.kind == abi::MsrWriteKind::general_protection ||
            (one.kind == abi::MsrWriteKind::apic_tpr && value > 0xff))
            return false;
        if (one.kind == abi::MsrWriteKind::apic_eoi)
            apic[0xb0] += 1;  // the fake counts ends of interrupt
        if (one.kind == abi::MsrWriteKind::apic_tpr)
            apic[0x80] = value;
        if (one.kind == abi::MsrWriteKind::apic_icr) {
            apic[0x300] = value & 0xffff'ffff;
            apic[0x310] = value >> 32;
        }
        return true;
    }
    if (hooks().msr_write == nullptr)
        return false;
    const auto verdict =
        call(vcpu, [&] { return hooks().msr_write(&vcpus_.at(vcpu), window->id, offset, value); });
    return verdict.kind != abi::VerdictKind::inject && verdict.kind != abi::VerdictKind::not_mine;
}

abi::Verdict ModuleUnderTest::hypercall(abi::HypercallFrame& frame, std::uint32_t vcpu)
{
    for (std::uint32_t index = 0; index < module_->manifest().window_count; ++index) {
        const auto window = module_->window(index);
        if (window.kind != abi::WindowKind::hypercall ||
            !abi::matches(window.hypercall, frame.mode, frame.cpl, frame.general) ||
            hooks().hypercall == nullptr)
            continue;
        frame.window = window.id;
        return call(vcpu, [&] { return hooks().hypercall(&vcpus_.at(vcpu), &frame); });
    }
    return nobody;
}

abi::Verdict ModuleUnderTest::hypercall_continue(abi::HypercallFrame& frame, std::uint32_t vcpu)
{
    return call(vcpu, [&] { return hooks().hypercall_continue(&vcpus_.at(vcpu), &frame); });
}

abi::Verdict ModuleUnderTest::fire(std::uint64_t timer, std::uint64_t missed)
{
    auto& one = host_.timers.at(timer);
    if (!one.setting)
        throw std::runtime_error{"the timer is not armed"};
    const abi::TimerSetting setting{*one.setting};
    if (setting.period_ns == 0)
        one.setting.reset();
    else
        one.setting->deadline_ns += setting.period_ns * (missed + 1);
    if (setting.action == abi::TimerAction::inject_vector) {
        host_.injected.push_back({one.vcpu, setting.vector, abi::inject_local_apic});
        return abi::done_unchanged;
    }
    const auto index = static_cast<std::uint32_t>(one.vcpu - FakeHost::vcpu_handle(0));
    const std::uint64_t cookie{one.cookie};
    return call(index, [&] { return hooks().timer(&vcpus_.at(index), timer, cookie, missed); });
}

abi::Verdict ModuleUnderTest::exit(abi::ExitFrame& frame, bool after, std::uint32_t vcpu)
{
    abi::Verdict verdict{abi::not_mine};
    const std::uint64_t number{frame.kind == abi::ExitKind::port ? frame.number & 0xffff : frame.number};
    const std::uint32_t direction{frame.write != 0 ? abi::exit_writes : abi::exit_reads};
    constexpr std::uint32_t directions{abi::exit_reads | abi::exit_writes};
    for (std::uint32_t index = 0; index < module_->exit_count(); ++index) {
        const auto wanted = module_->exit(index);
        if (wanted.kind == frame.kind && number >= wanted.first && number <= wanted.last &&
            ((wanted.flags & abi::exit_after) != 0) == after && holds(abi::exit_condition(wanted.flags)) &&
            ((wanted.flags & directions) == 0 || (wanted.flags & direction) != 0))
            verdict = call(vcpu, [&] { return hooks().exit(&vcpus_.at(vcpu), &frame); });
    }
    return verdict;
}

bool ModuleUnderTest::watches(std::uint32_t vector, std::uint32_t vcpu, std::uint32_t what) const
{
    const auto of_vcpu = host_.watched.find(FakeHost::vcpu_handle(vcpu));
    if (of_vcpu == host_.watched.end())
        return false;
    const auto found = of_vcpu->second.find(vector);
    return found != of_vcpu->second.end() && (found->second & what) != 0;
}

abi::Verdict ModuleUnderTest::interrupt_accepted(std::uint32_t vector, std::uint32_t vcpu)
{
    if (!watches(vector, vcpu, abi::watch_accepted))
        return abi::done_unchanged;
    return call(vcpu, [&] { return hooks().interrupt_accepted(&vcpus_.at(vcpu), vector); });
}

abi::Verdict ModuleUnderTest::interrupt_ended(std::uint32_t vector, std::uint32_t vcpu)
{
    if (!watches(vector, vcpu, abi::watch_ended))
        return abi::done_unchanged;
    return call(vcpu, [&] { return hooks().interrupt_ended(&vcpus_.at(vcpu), vector); });
}

abi::Verdict ModuleUnderTest::run_state_changed(abi::RunState from, abi::RunState to, std::uint64_t when_ns, std::uint32_t vcpu)
{
    if (hooks().run_state_changed == nullptr || (module().manifest().needs & abi::need_run_states) == 0)
        return abi::done_unchanged;
    return call(vcpu, [&] { return hooks().run_state_changed(&vcpus_.at(vcpu), from, to, when_ns); });
}

abi::Verdict ModuleUnderTest::reset_vcpu(std::uint32_t vcpu)
{
    if (hooks().vcpu_reset == nullptr) {
        std::ranges::fill(vcpu_states_.at(vcpu), 0);
        return abi::done;
    }
    return call(vcpu, [&] { return hooks().vcpu_reset(&vcpus_.at(vcpu)); });
}

abi::Verdict ModuleUnderTest::freeze()
{
    return hooks().freeze == nullptr ? abi::done : call({}, [&] { return hooks().freeze(&domain_); });
}

abi::Verdict ModuleUnderTest::channel_message(std::uint64_t channel, const void* bytes, std::uint64_t length)
{
    return call({}, [&] { return hooks().channel_message(&domain_, channel, bytes, length); });
}

abi::Verdict ModuleUnderTest::before_entry(std::uint32_t vcpu)
{
    return call(vcpu, [&] { return hooks().before_entry(&vcpus_.at(vcpu)); });
}

abi::Verdict ModuleUnderTest::thaw()
{
    return hooks().thaw == nullptr ? abi::done : call({}, [&] { return hooks().thaw(&domain_); });
}

}  // namespace hv::test

// SPDX-License-Identifier: MIT
//
// State records that came from somewhere else: the framework's reader, the import of a fresh instance of a real module in
// either placement, with its import_state where it has one, and what a guest then does with the state that it was given.  What
// must hold: a stream that is read is written again as it was; a refusal says why and leaves nothing; what was imported is
// exported and imported again as it is; the instance that stands beside is not touched; and whatever the state says, the guest
// gets answers.  The input: a byte for the module and its placement, one for the form, and either the stream itself or a script
// of records, which are then sound in their outer form.
#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "fake_platform.hpp"
#include "record_world.hpp"
#include "transfer.hpp"

namespace {

using namespace hv;
using namespace hv::core;
using fuzz::RecordWorld;
using Bytes = std::vector<std::byte>;
using Why = BoundedText<400>;

constexpr std::size_t most_bytes{16 * 1024};
constexpr std::size_t most_data{2048};

/// Where streams are written, in one place: new memory for each would cost more than all that is done with it.
std::array<std::byte, 2 * most_bytes> room;

Bytes written_by(const StateWriter& writer)
{
    return {writer.written().begin(), writer.written().end()};
}

// ---- the input ----

class Script {
public:
    Script(const std::uint8_t* data, std::size_t size) : rest_{std::as_bytes(std::span{data, size})} {}
    [[nodiscard]] bool empty() const { return rest_.empty(); }
    std::span<const std::byte> bytes(std::size_t most)
    {
        const auto part = rest_.first(std::min(most, rest_.size()));
        rest_ = rest_.subspan(part.size());
        return part;
    }
    unsigned byte() { return rest_.empty() ? 0 : std::to_integer<unsigned>(bytes(1)[0]); }
    unsigned word()
    {
        const unsigned low = byte();
        return low | byte() << 8;
    }

private:
    std::span<const std::byte> rest_;
};

std::uint32_t type_of(unsigned byte)
{
    return byte < 0xf0 ? byte % 4 : abi::first_module_record + byte % 4;
}
std::uint32_t vcpu_of(unsigned byte)
{
    return byte < 0xf0 ? byte % 4 : abi::record_of_domain;
}

/// A record: type, version, flags, VCPU and length, and its data, with zeros where the input ends before them.
Bytes stream_of(Script& script)
{
    static std::array<std::byte, most_data> data;
    StateWriter writer{std::span{room}.first(most_bytes)};
    while (!script.empty()) {
        abi::StateRecordHeader header{};
        header.type = type_of(script.byte());
        header.version = static_cast<std::uint16_t>(script.byte());
        header.flags = script.byte() & abi::record_optional;
        header.vcpu = vcpu_of(script.byte());
        const std::size_t length = script.word() % most_data;
        const auto given = script.bytes(length);
        std::ranges::fill(std::ranges::copy(given, data.begin()).out, data.begin() + static_cast<std::ptrdiff_t>(length),
                          std::byte{});
        if (!writer.record(header, std::span{data}.first(length)))
            break;
    }
    return written_by(writer);
}

// ---- what must hold ----

/// What the reader takes is what the writer would have written, but for what lies in the gaps.
void check_reader(const Bytes& stream)
{
    StateWriter writer{room};
    StateReader reader{stream};
    while (!reader.at_end()) {
        const std::size_t before = reader.left();
        const auto record = reader.next();
        if (!record) {
            HV_ASSERT(reader.left() == before);
            return;
        }
        const auto& [header, data] = record.value();
        HV_ASSERT(data.size() == header.length && reader.left() < before);
        const std::size_t at = writer.written().size();
        HV_ASSERT(writer.record(header, data));
        HV_ASSERT(writer.written().size() == stream.size() - reader.left());
        HV_ASSERT(std::memcmp(room.data() + at, stream.data() + at, sizeof header + data.size()) == 0);
    }
    HV_ASSERT(writer.written().size() == stream.size());
}

Bytes blocks_of(Binding& binding)
{
    StateWriter writer{room};
    Why why;
    HV_ASSERT(export_blocks(binding, writer, why));
    return written_by(writer);
}

/// Imports the stream into a fresh instance; its state blocks where it was taken, else nothing.
Bytes imported(RecordWorld& world, std::size_t kind, const Bytes& stream)
{
    Binding& fresh = world.fresh(kind);
    Why why;
    const Status status = import_state(fresh, stream, why);
    HV_ASSERT(status || !why.view().empty());
    HV_ASSERT(import_vcpu_blocks(fresh, stream, why) || !status);
    const Bytes blocks = status ? blocks_of(fresh) : Bytes{};
    world.refresh(kind);
    return blocks;
}

// ---- the guest ----

/// The blocks stand where the guest of `binding` finds them.
void put_in_place(Binding& binding, const Bytes& blocks)
{
    const auto put = [](StateCopies& to, std::span<const std::byte> from) {
        HV_ASSERT(from.size() == to.words * sizeof(std::uint64_t));
        std::memcpy(to.kept, from.data(), from.size());
        to.take_back();
    };
    for (StateReader reader{blocks}; !reader.at_end();) {
        const StateRecord record = reader.next().value();
        const bool of_domain = record.header.type == abi::record_domain_block;
        put(of_domain ? binding.state : binding.vcpus[record.header.vcpu]->state, record.data);
    }
}

/// Each `step`-th of them.
void use_msrs(ExtensionStack& stack, Vcpu& vcpu, const Window& window, unsigned step)
{
    for (std::uint64_t offset = 0; offset < std::min<std::uint64_t>(window.length, 0x180); offset += step) {
        const auto msr = static_cast<std::uint32_t>(window.base + offset);
        std::uint64_t value{};
        if (stack.read_msr(vcpu, msr, value) == Answered::done)
            static_cast<void>(stack.write_msr(vcpu, msr, value));
    }
}

void use_leaves(ExtensionStack& stack, Vcpu& vcpu, const Window& window)
{
    for (std::uint32_t leaf = 0; leaf < 16; ++leaf) {
        x86::CpuidResult result{};
        static_cast<void>(stack.cpuid(vcpu, static_cast<std::uint32_t>(window.base) + leaf, 0, result));
    }
}

/// From 64-bit code of ring 0, with the number where each of the interfaces has it.
void use_hypercalls(ExtensionStack& stack, Vcpu& vcpu)
{
    ExecutionContext context{};
    context.cr0 = 1;
    context.efer = 1 << 10;
    context.code_attributes = 0xa9b;
    for (std::uint64_t number = 0; number < 24; ++number) {
        std::ranges::fill(vcpu.registers.general, 0);
        vcpu.registers.general[0] = number;
        vcpu.registers.general[1] = number;
        vcpu.registers.general[2] = 0x1000;
        static_cast<void>(stack.hypercall(vcpu, context, 3));
    }
}

void use(Domain& domain, Binding& binding)
{
    ExtensionStack& stack = *domain.extensions;
    HV_ASSERT(domain.finish_build());
    domain.vcpu(0).started = true;
    HV_ASSERT(domain.unpause());
    for (unsigned index = 0; index < domain.vcpu_count(); ++index) {
        Vcpu& vcpu = domain.vcpu(index);
        for (const Window* const window : binding.windows) {
            if (window->kind == abi::WindowKind::msr)
                use_msrs(stack, vcpu, *window, index == 0 ? 1 : 7);
            if (window->kind == abi::WindowKind::cpuid)
                use_leaves(stack, vcpu, *window);
        }
        use_hypercalls(stack, vcpu);
    }
    stack.before_entry(domain.vcpu(0));
    fake::advance_ticks(20'000'000);
    machine().here().timers.expire(core::platform::ticks());
    stack.before_entry(domain.vcpu(0));
    stack.vcpu_reset(domain.vcpu(0));
    stack.freeze();
    stack.thaw();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static RecordWorld world;
    Script script{data, size};
    const std::size_t kind = script.byte() % RecordWorld::kinds;
    const bool scripted = script.byte() % 2 != 0;
    const auto raw = script.bytes(scripted ? 0 : most_bytes);
    const Bytes stream = scripted ? stream_of(script) : Bytes{raw.begin(), raw.end()};
    check_reader(stream);

    Binding& old = world.standing(kind);
    const std::uint64_t frames = world.frames_held();
    const std::uint64_t allocations = world.allocations();
    const Bytes before = blocks_of(old);
    const Bytes blocks = imported(world, kind, stream);
    if (!blocks.empty()) {
        HV_ASSERT(imported(world, kind, blocks) == blocks);
        Domain& domain = world.make_domain(kind);
        Binding& binding = *domain.extensions->implementation().bindings[0];
        put_in_place(binding, blocks);
        use(domain, binding);
        RecordWorld::end_domain(domain);
    }
    HV_ASSERT(blocks_of(old) == before);
    HV_ASSERT(world.frames_held() == frames && world.allocations() == allocations);
    return 0;
}

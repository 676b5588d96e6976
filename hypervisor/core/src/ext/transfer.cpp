// SPDX-License-Identifier: MIT
#include "transfer.hpp"

#include <array>
#include <utility>

#include "hook_call.hpp"

namespace hv::core {
namespace {

constexpr std::size_t module_record_bytes{64 * 1024};  ///< that a module's own records may have

std::span<const std::byte> bytes_of(const StateCopies& copies)
{
    return std::as_bytes(std::span{copies.kept, copies.words});
}

Status say_too_large(Status status, const Binding& binding, TextWriter& why)
{
    if (!status)
        say(why, "the state of extension '", binding.name(), "' has more bytes than there is room for");
    return status;
}

/// Records where a hook can reach them: the core's own bytes for a trusted instance, a block of the instance's memory for an
/// isolated one, from the beginning of one hook to its end.
class ShownRecords {
public:
    ShownRecords(Binding& binding, std::span<std::byte> own) : binding_{binding}, bytes_{own} {}
    ~ShownRecords()
    {
        if (address_ != 0)
            static_cast<void>(binding_.isolated->release_allocation(address_));
    }
    ShownRecords(const ShownRecords&) = delete;
    ShownRecords& operator=(const ShownRecords&) = delete;

    Status create(TextWriter& why)
    {
        if (binding_.isolated == nullptr || bytes_.empty())
            return Done{};
        const auto block = binding_.isolated->allocate(bytes_.size());
        if (!block) {
            say(why, "extension '", binding_.name(), "' has no room for its records: ", error_name(block.error()));
            return block.error();
        }
        address_ = block.value();
        bytes_ = {binding_.isolated->reach(address_, bytes_.size(), true), bytes_.size()};
        return Done{};
    }
    [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }
    /// As the module sees them.
    [[nodiscard]] std::uint8_t* shown() const
    {
        return reinterpret_cast<std::uint8_t*>(address_ != 0 ? address_ : reinterpret_cast<std::uintptr_t>(bytes_.data()));
    }

private:
    Binding& binding_;
    std::span<std::byte> bytes_;
    std::uint64_t address_{};
};

Status export_own(Binding& binding, StateWriter& writer, TextWriter& why)
{
    if (binding.hooks.export_state == nullptr)
        return Done{};
    const std::span<std::byte> room = writer.rest();
    ShownRecords records{binding, room};
    HV_TRY(records.create(why));
    const SeatHold hold{binding};
    std::uint64_t& shared = binding.seat.exchange->value;
    shared = 0;
    const abi::Verdict verdict = call_hook(binding, Hook::export_state, binding.hooks.export_state, records.shown(),
                                           std::uint64_t{room.size()}, binding.seat.shown(&shared));
    HV_TRY(binding.refused(verdict, "export_state", why));
    const std::uint64_t used = shared;
    if (used <= room.size() && records.bytes().data() != room.data())
        std::memcpy(room.data(), records.bytes().data(), static_cast<std::size_t>(used));
    StateReader judge{room.first(used <= room.size() ? static_cast<std::size_t>(used) : 0)};
    bool good = used <= room.size();
    while (good && !judge.at_end()) {
        const auto record = judge.next();
        good = record && record.value().header.type >= abi::first_module_record;
    }
    if (!good) {
        say(why, "extension '", binding.name(), "' exports what are not records");
        return Error::malformed;
    }
    writer.append(static_cast<std::size_t>(used));
    return Done{};
}

Status write_blocks(Binding& binding, StateWriter& writer)
{
    const abi::Manifest& manifest = binding.module.manifest();
    const auto version = static_cast<std::uint16_t>(manifest.domain_state.version);
    if (binding.state.words != 0) {
        const LockGuard guard{binding.state_lock};
        HV_TRY(writer.record({abi::record_domain_block, version, 0, 0, abi::record_of_domain},
                             bytes_of(binding.state)));
    }
    const auto of_vcpu = static_cast<std::uint16_t>(manifest.vcpu_state.version);
    for (unsigned index = 0; index < binding.vcpu_count; ++index)
        if (binding.vcpus[index]->state.words != 0)
            HV_TRY(writer.record({abi::record_vcpu_block, of_vcpu, 0, 0, index},
                                 bytes_of(binding.vcpus[index]->state)));
    return Done{};
}

Status write_continuations(Binding& binding, StateWriter& writer)
{
    for (unsigned index = 0; index < binding.vcpu_count; ++index)
        if (const VcpuBinding& own = *binding.vcpus[index]; own.continuing)
            HV_TRY(writer.record({abi::record_continuation, 1, 0, 0, index},
                                 std::as_bytes(std::span{&own.open_call, 1})));
    return Done{};
}

constexpr std::uint16_t current_version(const abi::StateBlock& block)
{
    return static_cast<std::uint16_t>(block.version);
}
constexpr std::uint32_t oldest_beginning(const abi::StateBlock& block)
{
    return block.version >> 16;
}

/// True where the record is the block, or its beginning.
bool fits(const abi::StateBlock& wanted, const StateRecord& record)
{
    if (record.header.version == current_version(wanted))
        return record.data.size() == wanted.size;
    return oldest_beginning(wanted) != 0 && record.header.version >= oldest_beginning(wanted) &&
           record.header.version < current_version(wanted) && record.data.size() <= wanted.size;
}

/// True where the block could be taken as it is.
bool adopt(StateCopies& block, const abi::StateBlock& wanted, const StateRecord& record)
{
    if (!fits(wanted, record))
        return false;
    block.fill(record.data);
    return true;
}

void say_unreadable(TextWriter& why, const Binding& fresh, const StateRecord& record, const abi::StateBlock& wanted)
{
    say(why, "extension '", fresh.name(), "' cannot read the state: the ",
        record.header.type == abi::record_domain_block ? "domain's" : "VCPUs'", " block is of version ",
        record.header.version, " with ", record.data.size(), " bytes, it knows version ", current_version(wanted), " with ",
        wanted.size, " and has no import_state hook");
}

Status take_record(Binding& fresh, const StateRecord& record, TextWriter& why)
{
    const abi::Manifest& manifest = fresh.module.manifest();
    const bool converts = fresh.hooks.import_state != nullptr;
    const auto take = [&](StateCopies& block, const abi::StateBlock& wanted) -> Status {
        if (adopt(block, wanted, record) || converts)
            return Done{};
        say_unreadable(why, fresh, record, wanted);
        return Error::abi_mismatch;
    };
    switch (record.header.type) {
    case abi::record_domain_block: return take(fresh.state, manifest.domain_state);
    case abi::record_vcpu_block:
        if (record.header.vcpu < fresh.vcpu_count)
            return take(fresh.vcpus[record.header.vcpu]->state, manifest.vcpu_state);
        break;
    case abi::record_continuation: return Done{};  // the core's own
    default:
        if (converts || (record.header.flags & abi::record_optional) != 0)
            return Done{};
        say(why, "extension '", fresh.name(), "' has no import_state hook, and the state has records of type ",
            Hex{record.header.type});
        return Error::abi_mismatch;
    }
    say(why, "a state record of extension '", fresh.name(), "' is of VCPU ", record.header.vcpu,
        ", which the domain does not have");
    return Error::malformed;
}

/// Which blocks came: an instance that copies them must get each of its own, and nobody one twice.
class BlocksSeen {
public:
    /// False for a block that came before.
    bool count(const abi::StateRecordHeader& header)
    {
        if (header.type == abi::record_domain_block)
            return !std::exchange(domain_, true);
        if (header.type == abi::record_vcpu_block && header.vcpu < maximum_vcpus)
            return !std::exchange(vcpus_[header.vcpu], true);
        return true;
    }
    static std::string_view whose(const abi::StateRecordHeader& header)
    {
        return header.type == abi::record_domain_block ? "the domain" : "a VCPU";
    }
    /// A module that converts may know how to do without one.
    [[nodiscard]] Status check_complete(const Binding& fresh, TextWriter& why) const
    {
        if (fresh.hooks.import_state != nullptr)
            return Done{};
        if (fresh.state.words != 0 && !domain_) {
            say(why, "the state of extension '", fresh.name(), "' lacks the domain's block");
            return Error::malformed;
        }
        for (unsigned index = 0; index < fresh.vcpu_count; ++index)
            if (fresh.vcpus[index]->state.words != 0 && !vcpus_[index]) {
                say(why, "the state of extension '", fresh.name(), "' lacks the block of VCPU ", index);
                return Error::malformed;
            }
        return Done{};
    }

private:
    bool domain_{};
    std::array<bool, maximum_vcpus> vcpus_{};
};

}  // namespace

Status export_state(Binding& binding, StateWriter& writer, Continuations continuations, TextWriter& why)
{
    HV_TRY(say_too_large(write_blocks(binding, writer), binding, why));
    if (continuations == Continuations::put_in)
        HV_TRY(say_too_large(write_continuations(binding, writer), binding, why));
    return export_own(binding, writer, why);
}

Status export_blocks(Binding& binding, StateWriter& writer, TextWriter& why)
{
    return say_too_large(write_blocks(binding, writer), binding, why);
}

std::size_t export_bytes(const Binding& binding)
{
    const abi::Manifest& manifest = binding.module.manifest();
    const std::size_t blocks = manifest.domain_state.size + sizeof(abi::StateRecordHeader) +
                               binding.vcpu_count * (manifest.vcpu_state.size + sizeof(abi::StateRecordHeader));
    return blocks + (binding.hooks.export_state != nullptr ? module_record_bytes : 0);
}

Status import_state(Binding& fresh, std::span<const std::byte> records, TextWriter& why)
{
    BlocksSeen seen;
    for (StateReader reader{records}; !reader.at_end();) {
        const auto record = reader.next();
        if (!record) {
            say(why, "the state records of extension '", fresh.name(), "' are damaged at byte ",
                records.size() - reader.left());
            return record.error();
        }
        HV_TRY(take_record(fresh, record.value(), why));
        if (!seen.count(record.value().header)) {
            say(why, "the state of extension '", fresh.name(), "' has two blocks of ",
                BlocksSeen::whose(record.value().header));
            return Error::malformed;
        }
    }
    HV_TRY(seen.check_complete(fresh, why));
    fresh.set_start_reason(abi::start_import);
    HV_TRY(fresh.create_domain(why));
    if (fresh.hooks.import_state == nullptr)
        return Done{};
    const std::span own{const_cast<std::byte*>(records.data()), records.size()};  // the hook takes them as constants
    ShownRecords shown{fresh, own};
    HV_TRY(shown.create(why));
    if (shown.bytes().data() != own.data())
        std::memcpy(shown.bytes().data(), own.data(), own.size());
    return fresh.refused(call_hook(fresh, Hook::import_state, fresh.hooks.import_state,
                                   static_cast<const std::uint8_t*>(shown.shown()), std::uint64_t{own.size()}),
                         "import_state", why);
}

Status import_vcpu_blocks(Binding& fresh, std::span<const std::byte> records, TextWriter& why)
{
    for (StateReader reader{records}; !reader.at_end();) {
        const StateRecord record = HV_TRY(reader.next());
        if (record.header.type == abi::record_vcpu_block)
            HV_TRY(take_record(fresh, record, why));
    }
    return Done{};
}

}  // namespace hv::core

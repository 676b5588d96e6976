// SPDX-License-Identifier: MIT
//
// The MSI-X table's words, and the rule by which a masked interrupt is sent later exactly once [PCI-3.0
// §6.8.2].
#include "hv/core/virtio/msix_table.hpp"

namespace hv::core::virtio {

namespace {

enum : unsigned { word_address_low = 0, word_address_high = 4, word_data = 8, word_control = 12 };
constexpr std::uint32_t control_masked{1};

}  // namespace

std::uint32_t MsixTable::read_word(unsigned offset) const
{
    if (offset / entry_bytes >= vectors)
        return 0;
    const Entry& entry{entries_[offset / entry_bytes]};
    switch (offset % entry_bytes) {
    case word_address_low: return static_cast<std::uint32_t>(entry.address.load());
    case word_address_high: return static_cast<std::uint32_t>(entry.address.load() >> 32);
    case word_data: return entry.data.load();
    default: return entry.masked.load() ? control_masked : 0;
    }
}

void MsixTable::write_word(unsigned offset, std::uint32_t value)
{
    if (offset / entry_bytes >= vectors)
        return;
    Entry& entry{entries_[offset / entry_bytes]};
    const std::uint64_t address{entry.address.load()};
    switch (offset % entry_bytes) {
    case word_address_low: entry.address.store((address & ~0xffff'ffffull) | (value & ~3u)); break;
    case word_address_high:
        entry.address.store((address & 0xffff'ffffull) | std::uint64_t{value} << 32);
        break;
    case word_data: entry.data.store(value); break;
    default:
        entry.masked.store((value & control_masked) != 0);
        send_if_pending(entry);
        break;
    }
}

std::uint64_t MsixTable::read(unsigned offset, unsigned size) const
{
    if ((size != 4 && size != 8) || offset % size != 0)
        return 0;
    const std::uint64_t low{read_word(offset)};
    return size == 4 ? low : low | std::uint64_t{read_word(offset + 4)} << 32;
}

void MsixTable::write(unsigned offset, unsigned size, std::uint64_t value)
{
    if ((size != 4 && size != 8) || offset % size != 0)
        return;
    write_word(offset, static_cast<std::uint32_t>(value));
    if (size == 8)
        write_word(offset + 4, static_cast<std::uint32_t>(value >> 32));
}

std::uint64_t MsixTable::read_pending(unsigned offset, unsigned size) const
{
    std::uint64_t bits{0};
    for (unsigned vector = 0; vector < vectors; ++vector)
        bits |= std::uint64_t{entries_[vector].pending.load()} << vector;
    if (offset >= 8 || offset % size != 0)
        return 0;
    bits >>= 8 * offset;
    return size >= 8 ? bits : bits & ((std::uint64_t{1} << (8 * size)) - 1);
}

void MsixTable::set_control(bool enable, bool function_mask)
{
    enabled_.store(enable);
    function_masked_.store(function_mask);
    for (Entry& entry : entries_)
        send_if_pending(entry);
}

bool MsixTable::blocked(const Entry& entry) const
{
    return entry.masked.load() || function_masked_.load() || !enabled_.load();
}

// Both the one that signals and the one that unmasks come here after having written their own side of the
// agreement (pending, masked) and look at the other's; the exchange lets only one of them send.
void MsixTable::send_if_pending(Entry& entry)
{
    if (!blocked(entry) && entry.pending.exchange(false))
        host_.send_msi({entry.address.load(), entry.data.load()});
}

void MsixTable::signal(unsigned vector)
{
    if (vector >= vectors || !enabled_.load())
        return;
    entries_[vector].pending.store(true);
    send_if_pending(entries_[vector]);
}

}  // namespace hv::core::virtio

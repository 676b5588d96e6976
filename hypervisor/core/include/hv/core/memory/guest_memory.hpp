// SPDX-License-Identifier: MIT
//
// A domain's memory as the hypervisor touches it: by guest-physical address, through the nested table that the guest itself
// runs on, so that what the guest cannot reach the hypervisor does not touch for it.  Copies only; a pointer leaves this
// file for one page at a time and only for the processor's own walk of guest page tables and fetch of instructions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"

namespace hv::core {

class NestedMap;

/// Who makes RAM that the guest owns but has not touched yet appear in the nested table.
class Populator {
public:
    /// True when `address` is mapped afterwards.  Any processor.
    virtual bool populate(GuestPhysical address) = 0;

protected:
    ~Populator() = default;
};

class GuestMemory {
public:
    explicit GuestMemory(NestedMap& map, Populator* populator = nullptr) : map_{map}, populator_{populator} {}

    /// Copy bytes from or to guest-physical memory; page boundaries are no concern of the caller.  Fail with out_of_range
    /// where a byte is not RAM of the guest (or not writable): write() then has changed nothing.
    Status read(GuestPhysical address, std::span<std::byte> to) const;
    Status write(GuestPhysical address, std::span<const std::byte> from) const;
    /// Sets `length` bytes to zero; fails as write() does.
    Status clear(GuestPhysical address, std::uint64_t length) const;

    template <typename T>
    [[nodiscard]] Expected<T> read_value(GuestPhysical address) const
    {
        T value{};
        HV_TRY(read(address, std::as_writable_bytes(std::span{&value, 1})));
        return value;
    }
    template <typename T>
    Status write_value(GuestPhysical address, const T& value) const
    {
        return write(address, std::as_bytes(std::span{&value, 1}));
    }

    /// The page of RAM that holds `address`, or null.  Valid until the map is next narrowed: the domain's nested generation
    /// tells.  Never stored anywhere without that generation beside it.
    [[nodiscard]] std::byte* page(GuestPhysical address, bool for_writing) const;

    /// Bits that the address of a page may have.
    [[nodiscard]] std::uint64_t address_mask() const;

private:
    [[nodiscard]] bool writable(GuestPhysical address, std::uint64_t length) const;

    NestedMap& map_;
    Populator* populator_;
};

}  // namespace hv::core

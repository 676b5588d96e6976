// SPDX-License-Identifier: MIT
//
// Memory as a loader left it: a few kilobytes at a chosen address that the parsers may look at, and nothing
// else.
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "hv/base/address.hpp"
#include "hv/core/control_domain/acpi_edit.hpp"

namespace hv::test {

class ForeignMemory {
public:
    ForeignMemory(std::uint64_t base, std::size_t bytes) : base_{base}, bytes_(bytes) {}

    [[nodiscard]] core::FirmwareMemory view() { return {.context = this, .view = look}; }

    template <typename T>
    void put(std::uint64_t address, const T& value)
    {
        std::memcpy(at(address, sizeof value), &value, sizeof value);
    }
    void put_bytes(std::uint64_t address, std::string_view text)
    {
        if (!text.empty())
            std::memcpy(at(address, text.size()), text.data(), text.size());
    }
    /// Makes the bytes [address, address + length) sum to zero by changing the one at `checksum`.
    void seal(std::uint64_t address, std::size_t length, std::uint64_t checksum)
    {
        put<std::uint8_t>(checksum, 0);
        std::uint8_t sum{0};
        for (std::size_t index = 0; index < length; ++index)
            sum = static_cast<std::uint8_t>(sum + static_cast<std::uint8_t>(*at(address + index, 1)));
        put<std::uint8_t>(checksum, static_cast<std::uint8_t>(-sum));
    }
    void resize(std::size_t bytes) { bytes_.resize(bytes); }
    [[nodiscard]] std::size_t size() const { return bytes_.size(); }

private:
    std::byte* at(std::uint64_t address, std::size_t length)
    {
        if (address < base_ || address - base_ > bytes_.size() || bytes_.size() - (address - base_) < length)
            throw std::out_of_range{"the test itself is wrong"};
        return bytes_.data() + (address - base_);
    }
    static std::span<const std::byte> look(void* context, HostPhysical address, std::uint64_t length)
    {
        const auto& self = *static_cast<ForeignMemory*>(context);
        const HostRange range{HostPhysical{self.base_}, self.bytes_.size()};
        if (!range.contains(address, length))
            return {};
        return std::span{self.bytes_}.subspan(address.raw() - self.base_, length);
    }

    std::uint64_t base_;
    std::vector<std::byte> bytes_;
};

}  // namespace hv::test

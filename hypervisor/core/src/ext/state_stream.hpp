// SPDX-License-Identifier: MIT
//
// The run of state records of hv/abi/state_record.hpp, written and read.  What is read may come from anywhere:
// every length is judged before it is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "hv/abi/state_record.hpp"
#include "hv/base/expected.hpp"

namespace hv::core {

struct StateRecord {
    abi::StateRecordHeader header{};
    std::span<const std::byte> data{};
};

class StateWriter {
public:
    explicit StateWriter(std::span<std::byte> room) : room_{room} {}

    /// Fails with limit_reached where the room is too small; nothing is then written.
    Status record(const abi::StateRecordHeader& header, std::span<const std::byte> data);
    /// What is left; a module's export writes there, and append() then counts it.
    [[nodiscard]] std::span<std::byte> rest() const { return room_.subspan(used_); }
    void append(std::size_t bytes) { used_ += bytes; }
    [[nodiscard]] std::span<const std::byte> written() const { return room_.first(used_); }

private:
    std::span<std::byte> room_;
    std::size_t used_{};
};

class StateReader {
public:
    explicit StateReader(std::span<const std::byte> bytes) : bytes_{bytes} {}

    [[nodiscard]] bool at_end() const { return bytes_.empty(); }
    [[nodiscard]] std::size_t left() const { return bytes_.size(); }
    /// Fails with malformed where a header or its data runs past the end, or a flag is unknown.
    Expected<StateRecord> next();

private:
    std::span<const std::byte> bytes_;
};

}  // namespace hv::core

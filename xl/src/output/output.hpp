// SPDX-License-Identifier: MIT
//
// How xl shows results: tables and sentences for people, JSON for programs.  Colour only where a person
// looks.
#pragma once

#include <string>
#include <vector>

#include "base/failure.hpp"
#include "config/json.hpp"

namespace hv::xl {

/// Rows of text under a header; columns are as wide as they must be.  Numbers are set to the right.
class Table {
public:
    explicit Table(std::vector<std::string> header);
    void add(std::vector<std::string> row);
    /// With `colour`, the header and states are coloured.
    [[nodiscard]] std::string text(bool colour) const;

private:
    std::vector<std::vector<std::string>> rows_;
};

/// Nothing that a terminal would obey.
[[nodiscard]] std::string json_text(const Json& json);

/// Every problem on a line of its own: "xl: FILE: /pointer: message; did you mean X?".
[[nodiscard]] std::string failure_text(const Failure& failure, const std::string& file);
/// {"error": {"message", "pointer", "suggestion"}}, and "errors" with all of them where there are several.
[[nodiscard]] Json failure_output(const Failure& failure);

/// "512MiB", "3.2GiB": for people.
[[nodiscard]] std::string short_bytes(std::uint64_t bytes);
/// "3d 04:05:06".
[[nodiscard]] std::string duration_text(std::uint64_t nanoseconds);
/// "12.3s".
[[nodiscard]] std::string seconds_text(std::uint64_t nanoseconds);

}  // namespace hv::xl

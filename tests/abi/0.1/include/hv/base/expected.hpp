// SPDX-License-Identifier: MIT
//
// A value or the reason for its absence.  The shape is std::expected's (C++23), so that it can become it; there is no
// unwrap: an error that cannot happen is written as HV_ASSERT at the place that knows why.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

namespace hv {

/// Why an operation was refused.  Values travel in the control protocol and the extension ABI: append, never renumber.
enum class Error : std::uint16_t {
    invalid_argument = 1,
    out_of_range = 2,
    no_memory = 3,
    not_supported = 4,
    already_exists = 5,
    not_found = 6,
    busy = 7,
    permission_denied = 8,
    malformed = 9,
    abi_mismatch = 10,
    timed_out = 11,
    limit_reached = 12,
    conflict = 13,
    gone = 14,
};

/// A value or the Error that explains its absence.
template <typename T>
class [[nodiscard]] Expected {
public:
    constexpr Expected(T value) : value_{std::move(value)} {}
    constexpr Expected(Error error) : error_{error} {}

    [[nodiscard]] constexpr bool has_value() const { return value_.has_value(); }
    [[nodiscard]] constexpr explicit operator bool() const { return value_.has_value(); }
    [[nodiscard]] constexpr T& value() { return *value_; }
    [[nodiscard]] constexpr const T& value() const { return *value_; }
    [[nodiscard]] constexpr Error error() const { return error_; }

private:
    std::optional<T> value_{};
    Error error_{};
};

struct Done {};
using Status = Expected<Done>;

/// The English name of an error, for logs and messages to the operator.
constexpr const char* error_name(Error error)
{
    switch (error) {
    case Error::invalid_argument: return "invalid argument";
    case Error::out_of_range: return "out of range";
    case Error::no_memory: return "not enough memory";
    case Error::not_supported: return "not supported";
    case Error::already_exists: return "already exists";
    case Error::not_found: return "not found";
    case Error::busy: return "busy";
    case Error::permission_denied: return "permission denied";
    case Error::malformed: return "malformed";
    case Error::abi_mismatch: return "ABI mismatch";
    case Error::timed_out: return "timed out";
    case Error::limit_reached: return "limit reached";
    case Error::conflict: return "conflict";
    case Error::gone: return "gone";
    }
    return "unknown error";
}

/// Leaves the enclosing function with the error, or yields the value (a GNU statement expression: g++ and clang).
#define HV_TRY(expression)                                                                                   \
    ({                                                                                                       \
        auto hv_try_result{expression};                                                                      \
        if (!hv_try_result.has_value())                                                                      \
            return hv_try_result.error();                                                                    \
        std::move(hv_try_result.value());                                                                    \
    })

}  // namespace hv

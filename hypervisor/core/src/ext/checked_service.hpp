// SPDX-License-Identifier: MIT
//
// A service as an isolated module may call it: Checked<service>::call has the service's own signature, and takes each pointer
// among the arguments for what it is, a number that a module made up.  What it names must be the calling instance's own, and
// writable where the service writes.  A structure is copied once, before the service looks at it and, where it is written,
// after; a run of bytes is used where it lies, since a service reads or writes each byte of one once.  A pointer that is
// wrong makes the answer invalid_argument, and nothing is done.
#pragma once

#include <cstring>
#include <type_traits>
#include <utility>

#include "isolated_memory.hpp"
#include "service_call.hpp"

namespace hv::core::services {

/// Where the module's bytes are, for whoever is calling now.
inline std::byte* reach(const void* address, std::uint64_t bytes, bool write)
{
    Binding* const binding = current_call().binding;
    if (binding == nullptr || !binding->isolated)
        return nullptr;
    return binding->isolated->reach(reinterpret_cast<std::uintptr_t>(address), bytes, write);
}

/// Any other argument goes as it came.
template <typename T>
struct Argument {
    T value;
    Argument(T of, std::uint64_t) : value{of} {}
    [[nodiscard]] static bool is_good() { return true; }
    [[nodiscard]] T given() const { return value; }
    static void put_back() {}
};

/// A run of bytes, as long as the argument after it says.
template <typename T>
requires std::is_void_v<T> || std::is_same_v<std::remove_const_t<T>, char>
struct Argument<T*> {
    T* own;
    bool good;
    Argument(T* of, std::uint64_t length)
        : own{static_cast<T*>(static_cast<void*>(of == nullptr ? nullptr : reach(of, length, !std::is_const_v<T>)))},
          good{of == nullptr || own != nullptr || length == 0}
    {
    }
    [[nodiscard]] bool is_good() const { return good; }
    [[nodiscard]] T* given() const { return own; }
    static void put_back() {}
};

/// A structure or a number.
template <typename T>
requires (!std::is_void_v<T> && !std::is_same_v<std::remove_const_t<T>, char>)
struct Argument<T*> {
    using Copy = std::remove_const_t<T>;
    std::byte* own;
    bool absent;
    Copy copy{};
    Argument(T* of, std::uint64_t)
        : own{of == nullptr ? nullptr : reach(of, sizeof(T), !std::is_const_v<T>)}, absent{of == nullptr}
    {
        if (own != nullptr)
            std::memcpy(&copy, own, sizeof copy);
    }
    [[nodiscard]] bool is_good() const { return absent || own != nullptr; }
    [[nodiscard]] T* given() { return absent ? nullptr : &copy; }
    void put_back() const
    {
        if constexpr (!std::is_const_v<T>)
            if (own != nullptr)
                std::memcpy(own, &copy, sizeof copy);
    }
};

template <typename T>
std::uint64_t as_length(T value)
{
    if constexpr (std::is_integral_v<T>)
        return value;
    else
        return 0;
}

template <std::size_t I, typename T>
struct Place : Argument<T> {
    using Argument<T>::Argument;
};

/// All arguments of a call, each with the one that follows it as its length.
template <typename Indices, typename... Parameters>
struct Arguments;
template <std::size_t... I, typename... Parameters>
struct Arguments<std::index_sequence<I...>, Parameters...> : Place<I, Parameters>... {
    explicit Arguments(const std::uint64_t* numbers, Parameters... parameters)
        : Place<I, Parameters>{parameters, numbers[I + 1]}...
    {
    }
};

template <auto Service>
struct Checked;

template <typename... Parameters, Answer (*Service)(Parameters...)>
struct Checked<Service> {
    static Answer call(Parameters... parameters)
    {
        return with(std::index_sequence_for<Parameters...>{}, parameters...);
    }

private:
    template <std::size_t... I>
    static Answer with(std::index_sequence<I...>, Parameters... parameters)
    {
        const std::uint64_t numbers[]{as_length(parameters)..., 0};
        Arguments<std::index_sequence<I...>, Parameters...> all{numbers, parameters...};
        if (!(all.Place<I, Parameters>::is_good() && ...))
            return abi::status_invalid_argument;
        const Answer answer = Service(all.Place<I, Parameters>::given()...);
        (all.Place<I, Parameters>::put_back(), ...);
        return answer;
    }
};

}  // namespace hv::core::services

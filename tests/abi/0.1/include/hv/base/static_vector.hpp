// SPDX-License-Identifier: MIT
//
// A vector with its storage inside and its capacity in its type: no allocation, and a full one says so.
#pragma once

#include <array>
#include <cstddef>

#include "hv/base/assert.hpp"

namespace hv {

/// Up to Capacity elements in order.  T is default constructible and assignable.
template <typename T, std::size_t Capacity>
class StaticVector {
public:
    using value_type = T;

    [[nodiscard]] constexpr std::size_t size() const { return size_; }
    [[nodiscard]] constexpr bool empty() const { return size_ == 0; }
    [[nodiscard]] constexpr bool full() const { return size_ == Capacity; }
    [[nodiscard]] static constexpr std::size_t capacity() { return Capacity; }

    constexpr T* begin() { return items_.data(); }
    constexpr T* end() { return items_.data() + size_; }
    constexpr const T* begin() const { return items_.data(); }
    constexpr const T* end() const { return items_.data() + size_; }
    constexpr T* data() { return items_.data(); }
    constexpr const T* data() const { return items_.data(); }

    constexpr T& operator[](std::size_t index)
    {
        HV_ASSERT(index < size_);
        return items_[index];
    }
    constexpr const T& operator[](std::size_t index) const
    {
        HV_ASSERT(index < size_);
        return items_[index];
    }
    constexpr T& back() { return (*this)[size_ - 1]; }

    /// False when full; the vector is then unchanged.
    [[nodiscard]] constexpr bool push_back(const T& item)
    {
        if (full())
            return false;
        items_[size_++] = item;
        return true;
    }

    /// Inserts before `position` (a pointer between begin and end); false when full.
    [[nodiscard]] constexpr bool insert(T* position, const T& item)
    {
        if (full())
            return false;
        for (T* slot = end(); slot != position; --slot)
            *slot = *(slot - 1);
        *position = item;
        ++size_;
        return true;
    }

    constexpr void erase(T* position)
    {
        HV_ASSERT(position >= begin() && position < end());
        for (T* slot = position; slot + 1 != end(); ++slot)
            *slot = *(slot + 1);
        pop_back();
    }
    constexpr void pop_back()
    {
        HV_ASSERT(size_ > 0);
        items_[--size_] = T{};
    }
    constexpr void clear()
    {
        while (size_ > 0)
            pop_back();
    }

private:
    std::array<T, Capacity> items_{};
    std::size_t size_{};
};

}  // namespace hv

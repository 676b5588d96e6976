// SPDX-License-Identifier: MIT
//
// The guests that exist.  Changed by the control server alone, on whichever processor runs it; others look domains up
// through it only from there, so it has no lock.
#pragma once

#include <cstdint>
#include <string_view>

#include "hv/base/static_vector.hpp"
#include "hv/core/domain/domain.hpp"

namespace hv::core {

class DomainTable {
public:
    static constexpr std::size_t capacity{256};

    /// A new domain under a number that was never used.  Fails as Domain::create does, or with limit_reached (too many) or
    /// already_exists (the name or the UUID).
    Expected<Domain*> create(const DomainConfig& config);
    /// Ends the domain, waits until no processor has anything to do with it, and gives everything back.
    void destroy(Domain& domain);

    [[nodiscard]] Domain* find(std::uint32_t id) const;
    [[nodiscard]] Domain* find(std::string_view name) const;
    /// The domain with the lowest number at or above `id`, or null.
    [[nodiscard]] Domain* next(std::uint32_t id) const;
    [[nodiscard]] std::size_t size() const { return domains_.size(); }

private:
    StaticVector<Domain*, capacity> domains_{};  ///< by ascending number
    std::uint32_t next_id_{1};                   ///< 0 is the control domain
};

}  // namespace hv::core

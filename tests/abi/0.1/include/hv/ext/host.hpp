// SPDX-License-Identifier: MIT
//
// The module's own copy of the service table, and the step from a service's answer to hv::Status.  Defined
// once per module by HV_EXTENSION; a host-side unit test of module code fills it with fakes.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "hv/abi/manifest.hpp"
#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"

extern "C" [[gnu::visibility("hidden")]] hv::abi::HostTable hv_host_table;

namespace hv::ext {

/// The services.  Every member of ABI 0.1 is there; for later ones ask HV_OFFERS(host(), member).
[[nodiscard]] inline const abi::HostTable& host()
{
    return hv_host_table;
}

/// A service's answer as a Status.
[[nodiscard]] constexpr Status check(abi::Answer answer)
{
    if (answer == abi::status_ok)
        return Done{};
    if (answer > 0 || answer < -0xffff)
        return Error::malformed;
    return static_cast<Error>(-answer);
}

/// An error as what a hook's `refuse` verdict carries.
[[nodiscard]] constexpr abi::Verdict refuse(Error error)
{
    return abi::refuse(-static_cast<std::int32_t>(error));
}

}  // namespace hv::ext

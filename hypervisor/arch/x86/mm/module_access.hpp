// SPDX-License-Identifier: MIT
//
// What the core wants a module's page to allow, in the words of the page tables: for both placements.
#pragma once

#include "hv/arch/x86/mm/page_table.hpp"
#include "hv/core/platform/module_space.hpp"

namespace hv::core::platform {

constexpr x86::PageAccess access_of(ModuleAccess access)
{
    switch (access) {
    case ModuleAccess::read_execute: return x86::PageAccess::read_execute;
    case ModuleAccess::read_write: return x86::PageAccess::read_write;
    case ModuleAccess::read_only: break;
    }
    return x86::PageAccess::read_only;
}

}  // namespace hv::core::platform

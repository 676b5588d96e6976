// SPDX-License-Identifier: MIT
//
// The loader's module memory over the hypervisor's frames: an image is written through the direct map into
// frames of the instance's ledger, and appears at its own addresses only when it is sealed, each region with
// its final rights.
#pragma once

#include "hv/core/memory/frame_allocator.hpp"
#include "hv/loader/module_memory.hpp"

namespace hv::core {

/// Of one instance.
class InstanceMemory final : public loader::ModuleMemory {
public:
    InstanceMemory(FrameAllocator& frames, Ledger& ledger) : frames_{frames}, ledger_{ledger} {}
    /// Asserts that release() has been called for what reserve() gave.
    ~InstanceMemory();

    Expected<loader::Placement> reserve(const loader::ImageLayout& layout) override;
    Status seal(const loader::Placement& placement, const loader::ImageLayout& layout) override;
    void release(const loader::Placement& placement, const loader::ImageLayout& layout) override;

private:
    FrameAllocator& frames_;
    Ledger& ledger_;
    OwnedFrames image_{};
};

}  // namespace hv::core

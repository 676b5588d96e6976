// SPDX-License-Identifier: MIT
//
// XMM registers, by the save area: a state that is in the processor is saved for the moment and loaded again.  The area is
// XSAVE's in its standard form, or FXSAVE's, which begins the same [SDM1-083 §13.4.1].
#include "hv/arch/x86/svm/vector_registers.hpp"

#include <cstdint>
#include <cstring>

#include "hv/arch/x86/svm/processor.hpp"
#include "hv/base/assert.hpp"

namespace hv::svm {
namespace {

constexpr std::size_t vectors_offset{160};
constexpr std::size_t vector_bytes{16};
constexpr std::size_t all_vectors{16 * vector_bytes};
constexpr std::size_t present_offset{512};  // XSTATE_BV [SDM1-083 §13.4.2]
constexpr std::uint64_t sse_present{1 << 1};

/// While this lives, the area holds the state.
class InArea {
public:
    InArea(VcpuState& vcpu, const Features& features)
        : vcpu_{vcpu}, mask_{features.extended_state_mask}, area_{static_cast<std::byte*>(vcpu.extended_area)}
    {
        if (vcpu_.processor == nullptr)
            return;
        if (mask_ != 0)
            vcpu_.extended_control = processor::read_extended_control();
        processor::save_extended_state(area_, mask_);
    }
    ~InArea()
    {
        if (vcpu_.processor != nullptr)
            processor::load_extended_state(area_, mask_, vcpu_.extended_control);
    }
    InArea(const InArea&) = delete;
    InArea& operator=(const InArea&) = delete;

    [[nodiscard]] std::byte* vectors() const { return area_ + vectors_offset; }
    /// False where all of them are zero, whatever the area's bytes say.
    [[nodiscard]] bool present() const { return mask_ == 0 || (presence() & sse_present) != 0; }
    void make_present() const
    {
        if (present())
            return;
        std::memset(vectors(), 0, all_vectors);
        const std::uint64_t now = presence() | sse_present;
        std::memcpy(area_ + present_offset, &now, sizeof now);
    }

private:
    [[nodiscard]] std::uint64_t presence() const
    {
        std::uint64_t bits{};
        std::memcpy(&bits, area_ + present_offset, sizeof bits);
        return bits;
    }

    VcpuState& vcpu_;
    std::uint64_t mask_;
    std::byte* area_;
};

}  // namespace

void read_vectors(VcpuState& vcpu, const Features& features, unsigned first, std::span<std::byte> bytes)
{
    HV_ASSERT(first * vector_bytes + bytes.size() <= all_vectors);
    const InArea state{vcpu, features};
    if (state.present())
        std::memcpy(bytes.data(), state.vectors() + first * vector_bytes, bytes.size());
    else
        std::memset(bytes.data(), 0, bytes.size());
}

void write_vectors(VcpuState& vcpu, const Features& features, unsigned first, std::span<const std::byte> bytes)
{
    HV_ASSERT(first * vector_bytes + bytes.size() <= all_vectors);
    const InArea state{vcpu, features};
    state.make_present();
    std::memcpy(state.vectors() + first * vector_bytes, bytes.data(), bytes.size());
}

}  // namespace hv::svm

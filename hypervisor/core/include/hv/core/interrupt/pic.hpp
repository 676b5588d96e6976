// SPDX-License-Identifier: MIT
//
// The PC's two cascaded 8259A interrupt controllers with the edge/level control registers of EISA
// [8259A-1988].  Sixteen lines in, one INTR out, which the caller connects to LINT0 of the bootstrap
// processor.
//
// The caller holds the domain's device lock.  8-bit ports: wider accesses are the caller's to split.
#pragma once

#include <array>
#include <cstdint>

#include "hv/core/interrupt/interrupt_line.hpp"
#include "hv/protocol/platform_layout.hpp"

namespace hv::core {

/// One 8259A, as plain data for save and restore.
struct PicChipState {
    std::uint8_t lines{};       ///< levels of the IR inputs
    std::uint8_t requested{};   ///< IRR
    std::uint8_t in_service{};  ///< ISR
    std::uint8_t masked{};      ///< IMR
    std::uint8_t level{};       ///< ELCR: these inputs are level-triggered
    std::uint8_t vector_base{};
    std::uint8_t lowest{7};    ///< the input of lowest priority; the one after it has the highest
    std::uint8_t next_word{};  ///< initialisation: the ICW expected next (2, 3, 4), or 0
    bool single{};
    bool wants_icw4{};
    bool reads_in_service{};
    bool polls{};
    bool special_mask{};
    bool special_fully_nested{};
    bool automatic_end{};
    bool rotates_automatically{};

    friend bool operator==(const PicChipState&, const PicChipState&) = default;
};

/// One 8259A.
class PicChip {
public:
    /// `level_writable`: which bits of its ELCR exist.  `is_master`: input 2 is a slave's output.
    PicChip(std::uint8_t level_writable, bool is_master)
        : level_writable_{level_writable}, is_master_{is_master}
    {
    }

    /// Power-up state; lines keep their level.
    void reset();
    void set_input(unsigned input, bool level);
    [[nodiscard]] bool output() const;
    /// The interrupt acknowledge cycle: the input that is served now, or 7 without effect when none is there
    /// any more.
    std::uint8_t acknowledge();
    [[nodiscard]] std::uint8_t vector_base() const { return state_.vector_base; }

    std::uint8_t read_command();
    std::uint8_t read_data();
    void write_command(std::uint8_t value);
    void write_data(std::uint8_t value);
    [[nodiscard]] std::uint8_t level_control() const { return state_.level; }
    void write_level_control(std::uint8_t value);

    [[nodiscard]] const PicChipState& save() const { return state_; }
    [[nodiscard]] bool restore(const PicChipState& state);

private:
    [[nodiscard]] unsigned rank(unsigned input) const { return (input - state_.lowest - 1u) & 7; }
    [[nodiscard]] int first_of(std::uint8_t inputs) const;
    [[nodiscard]] std::uint8_t blocking() const;
    [[nodiscard]] int pending() const;
    std::uint8_t poll();
    void serve(unsigned input);
    void initialize(std::uint8_t value);
    void end_of_interrupt(std::uint8_t value);

    const std::uint8_t level_writable_;
    const bool is_master_;
    PicChipState state_{};
};

struct PicState {
    PicChipState master{};
    PicChipState slave{};
};

class Pic final : public InterruptLine {
public:
    Pic() = default;

    void reset();
    /// `irq` below 16; IRQ 2 is the cascade and, like any other number, ignored.
    void set_line(unsigned irq, bool level) override;
    /// The INTR output.
    [[nodiscard]] bool output() const { return master_.output(); }
    /// The vector that the processor reads in its acknowledge cycle.  Never fails: with nothing pending any
    /// more it is the spurious one of input 7 [8259A-1988 "Edge and level triggered modes"].
    std::uint8_t acknowledge();

    /// Ports 0x20, 0x21, 0xa0, 0xa1, 0x4d0 and 0x4d1; others read all-ones and drop writes.
    std::uint8_t read(std::uint16_t port);
    void write(std::uint16_t port, std::uint8_t value);

    [[nodiscard]] PicState save() const { return {.master = master_.save(), .slave = slave_.save()}; }
    /// False, and nothing changed, when the state is one that no guest could have brought about.
    [[nodiscard]] bool restore(const PicState& state);

private:
    void update_cascade() { master_.set_input(cascade, slave_.output()); }

    static constexpr unsigned cascade{2};
    PicChip master_{0xf8, true};
    PicChip slave_{0xde, false};
};

}  // namespace hv::core

// SPDX-License-Identifier: MIT
//
// The 8259A pair: priorities, the acknowledge cycle, and the command words [8259A-1988].
#include "hv/core/interrupt/pic.hpp"

#include "hv/base/assert.hpp"
#include "hv/base/field.hpp"

namespace hv::core {

namespace {

constexpr std::uint8_t bit_of(unsigned input)
{
    return static_cast<std::uint8_t>(1u << input);
}

constexpr unsigned spurious_input{7};
constexpr unsigned cascade_input{2};

// ICW1 and its kin [8259A-1988 "Initialization command words", "Operation command words"].
using Icw1NeedsIcw4 = Bit<0>;
using Icw1Single = Bit<1>;
using Icw1Marker = Bit<4>;
using Icw4AutomaticEnd = Bit<1>;
using Icw4SpecialFullyNested = Bit<4>;
using Ocw3Marker = Bit<3>;
using Ocw3ReadRegister = Field<1, 0>;
using Ocw3Poll = Bit<2>;
using Ocw3SpecialMask = Field<6, 5>;
using Ocw2Input = Field<2, 0, std::uint8_t>;
using Ocw2Command = Field<7, 5>;

}  // namespace

/// Names every member of the state, so that a new one does not compile until it is handled here.  `lines` is
/// not touched: it belongs to the devices.
void PicChip::reset()
{
    auto& [lines, requested, in_service, masked, level, vector_base, lowest, next_word, single, wants_icw4,
           reads_in_service, polls, special_mask, special_fully_nested, automatic_end,
           rotates_automatically] = state_;
    requested = 0;
    in_service = 0;
    masked = 0xff;  // nothing comes before a guest has initialised the chip
    level = 0;
    vector_base = 0;
    lowest = 7;
    next_word = 0;
    single = false;
    wants_icw4 = false;
    reads_in_service = false;
    polls = false;
    special_mask = false;
    special_fully_nested = false;
    automatic_end = false;
    rotates_automatically = false;
}

/// An input must stay high until it is acknowledged; one that falls takes its request with it.
void PicChip::set_input(unsigned input, bool level)
{
    const std::uint8_t bit = bit_of(input);
    const bool was = (state_.lines & bit) != 0;
    if (level) {
        state_.lines |= bit;
        if (!was)
            state_.requested |= bit;
    } else {
        state_.lines &= static_cast<std::uint8_t>(~bit);
        state_.requested &= static_cast<std::uint8_t>(~bit);
    }
}

/// The input of highest priority in a set, or -1.
int PicChip::first_of(std::uint8_t inputs) const
{
    if (inputs == 0)
        return -1;
    for (unsigned step = 1; step <= 8; ++step) {
        const unsigned input = (state_.lowest + step) & 7;
        if ((inputs & bit_of(input)) != 0)
            return static_cast<int>(input);
    }
    return -1;
}

/// Inputs in service that hold others up; in special mask mode a masked one does not.
std::uint8_t PicChip::blocking() const
{
    return state_.special_mask ? static_cast<std::uint8_t>(state_.in_service & ~state_.masked)
                               : state_.in_service;
}

/// The input that would be acknowledged now, or -1.
int PicChip::pending() const
{
    if (state_.next_word != 0)
        return -1;
    const int candidate = first_of(static_cast<std::uint8_t>(state_.requested & ~state_.masked));
    if (candidate < 0)
        return -1;
    const int served = first_of(blocking());
    if (served < 0)
        return candidate;
    const unsigned candidate_rank = rank(static_cast<unsigned>(candidate));
    const unsigned served_rank = rank(static_cast<unsigned>(served));
    if (candidate_rank < served_rank)
        return candidate;
    // A slave may interrupt itself through the master in special fully nested mode.
    const bool slave_again = state_.special_fully_nested && is_master_ && candidate == served &&
                             static_cast<unsigned>(candidate) == cascade_input;
    return slave_again ? candidate : -1;
}

bool PicChip::output() const
{
    return pending() >= 0;
}

/// Moves an input from requested to in service; a level-triggered one stays requested as long as its line is
/// high.
void PicChip::serve(unsigned input)
{
    const std::uint8_t bit = bit_of(input);
    if ((state_.level & bit) == 0)
        state_.requested &= static_cast<std::uint8_t>(~bit);
    if (!state_.automatic_end)
        state_.in_service |= bit;
    else if (state_.rotates_automatically)
        state_.lowest = static_cast<std::uint8_t>(input);
}

std::uint8_t PicChip::acknowledge()
{
    const int input = pending();
    if (input < 0)
        return spurious_input;
    serve(static_cast<unsigned>(input));
    return static_cast<std::uint8_t>(input);
}

/// The read after a poll command stands for an acknowledge cycle.
std::uint8_t PicChip::poll()
{
    state_.polls = false;
    const int input = pending();
    if (input < 0)
        return 0;
    serve(static_cast<unsigned>(input));
    return static_cast<std::uint8_t>(0x80 | input);
}

std::uint8_t PicChip::read_command()
{
    if (state_.polls)
        return poll();
    return state_.reads_in_service ? state_.in_service : state_.requested;
}

std::uint8_t PicChip::read_data()
{
    return state_.polls ? poll() : state_.masked;
}

void PicChip::write_command(std::uint8_t value)
{
    if (Icw1Marker::get(value)) {
        initialize(value);
        return;
    }
    if (!Ocw3Marker::get(value)) {
        end_of_interrupt(value);
        return;
    }
    if (Ocw3ReadRegister::get(value) >= 2)
        state_.reads_in_service = Ocw3ReadRegister::get(value) == 3;
    if (Ocw3SpecialMask::get(value) >= 2)
        state_.special_mask = Ocw3SpecialMask::get(value) == 3;
    state_.polls = Ocw3Poll::get(value);
}

/// ICW1.  Edges seen so far are forgotten; a level-triggered input that is high requests again.
void PicChip::initialize(std::uint8_t value)
{
    state_.single = Icw1Single::get(value);
    state_.wants_icw4 = Icw1NeedsIcw4::get(value);
    state_.next_word = 2;
    state_.masked = 0;
    state_.in_service = 0;
    state_.requested = state_.lines & state_.level;
    state_.lowest = 7;
    state_.reads_in_service = false;
    state_.polls = false;
    state_.special_mask = false;
    state_.special_fully_nested = false;
    state_.automatic_end = false;
    state_.rotates_automatically = false;
}

void PicChip::write_data(std::uint8_t value)
{
    switch (state_.next_word) {
    case 2:
        state_.vector_base = value & 0xf8;
        state_.next_word = !state_.single ? 3 : state_.wants_icw4 ? 4 : 0;
        return;
    case 3:  // who is whose slave is wired, not programmable
        state_.next_word = state_.wants_icw4 ? 4 : 0;
        return;
    case 4:
        state_.automatic_end = Icw4AutomaticEnd::get(value);
        state_.special_fully_nested = Icw4SpecialFullyNested::get(value);
        state_.next_word = 0;
        return;
    default: state_.masked = value; return;
    }
}

/// OCW2: ends and rotations.
void PicChip::end_of_interrupt(std::uint8_t value)
{
    const std::uint8_t named = Ocw2Input::get(value);
    const int served = first_of(blocking());
    switch (Ocw2Command::get(value)) {
    case 0: state_.rotates_automatically = false; return;
    case 4: state_.rotates_automatically = true; return;
    case 1:
    case 5:
        if (served < 0)
            return;
        state_.in_service &= static_cast<std::uint8_t>(~bit_of(static_cast<unsigned>(served)));
        if (Ocw2Command::get(value) == 5)
            state_.lowest = static_cast<std::uint8_t>(served);
        return;
    case 7: state_.lowest = named; [[fallthrough]];
    case 3: state_.in_service &= static_cast<std::uint8_t>(~bit_of(named)); return;
    case 6: state_.lowest = named; return;
    default: return;  // 2 is no operation
    }
}

/// An input made level-triggered requests while its line is high; one made edge-triggered waits for the next
/// edge.
void PicChip::write_level_control(std::uint8_t value)
{
    state_.level = value & level_writable_;
    state_.requested |= state_.lines & state_.level;
}

bool PicChip::restore(const PicChipState& state)
{
    const bool possible = (state.requested & ~state.lines) == 0 && (state.level & ~level_writable_) == 0 &&
                          (state.vector_base & 7) == 0 && state.lowest < 8 && state.next_word != 1 &&
                          state.next_word <= 4;
    if (possible)
        state_ = state;
    return possible;
}

void Pic::reset()
{
    master_.reset();
    slave_.reset();
    update_cascade();
}

void Pic::set_line(unsigned irq, bool level)
{
    if (irq >= 16 || irq == cascade)
        return;
    if (irq < 8) {
        master_.set_input(irq, level);
        return;
    }
    slave_.set_input(irq - 8, level);
    update_cascade();
}

std::uint8_t Pic::acknowledge()
{
    const std::uint8_t input = master_.acknowledge();
    if (input != cascade)
        return static_cast<std::uint8_t>(master_.vector_base() + input);
    const std::uint8_t slave_input = slave_.acknowledge();
    // The acknowledge cycle ends the slave's request; one that waits behind it is a new edge for the master.
    master_.set_input(cascade, false);
    update_cascade();
    return static_cast<std::uint8_t>(slave_.vector_base() + slave_input);
}

std::uint8_t Pic::read(std::uint16_t port)
{
    std::uint8_t value{};
    switch (port) {
    case protocol::pic_master_port: return master_.read_command();
    case protocol::pic_master_port + 1: return master_.read_data();
    case protocol::pic_slave_port: value = slave_.read_command(); break;
    case protocol::pic_slave_port + 1: value = slave_.read_data(); break;
    case protocol::pic_edge_level_port: return master_.level_control();
    case protocol::pic_edge_level_port + 1: return slave_.level_control();
    default: return 0xff;
    }
    update_cascade();
    return value;
}

void Pic::write(std::uint16_t port, std::uint8_t value)
{
    switch (port) {
    case protocol::pic_master_port: master_.write_command(value); break;
    case protocol::pic_master_port + 1: master_.write_data(value); break;
    case protocol::pic_slave_port: slave_.write_command(value); break;
    case protocol::pic_slave_port + 1: slave_.write_data(value); break;
    case protocol::pic_edge_level_port: master_.write_level_control(value); break;
    case protocol::pic_edge_level_port + 1: slave_.write_level_control(value); break;
    default: return;
    }
    update_cascade();
}

bool Pic::restore(const PicState& state)
{
    const PicChipState before = master_.save();
    if (!master_.restore(state.master))
        return false;
    if (slave_.restore(state.slave))
        return true;
    HV_ASSERT(master_.restore(before));
    return false;
}

}  // namespace hv::core

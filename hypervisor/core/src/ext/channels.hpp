// SPDX-License-Identifier: MIT
//
// Channels between the extensions of one domain, and between one of them and the control domain: two ends that were opened by the
// same name, each of another owner.  A message is copied into the other end's queue.  A binding is told of it on the first VCPU's
// own processor, before that VCPU's next instruction; its ends are among its holdings: a swap or restart finds them and what waits
// there.  The control domain fetches (control_channels.cpp), once it was told that there is something.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "handle.hpp"
#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/memory/heap.hpp"
#include "hv/core/sync/spinlock.hpp"

namespace hv::core {

class Channels;
struct VcpuBinding;

inline constexpr std::size_t longest_channel_name{31};
inline constexpr std::size_t longest_channel_message{512};

struct ChannelMessage {
    std::uint64_t handle;  ///< of the receiving end
    std::uint64_t number;  ///< which of that end's messages it is
    std::uint32_t length;
    std::byte bytes[longest_channel_message];
};

struct ChannelEnd {
    /// Messages that wait; more are refused.
    static constexpr std::uint32_t room{8};

    Channels* owner;
    ChannelEnd* next;   ///< of the board
    ChannelEnd* other;  ///< null: nobody has opened it yet, or nobody any more
    std::uint32_t index;
    std::uint32_t generation;
    std::uint64_t received;  ///< messages so far
    std::uint32_t waiting;   ///< the last so many of them
    bool changed;            ///< the control domain, whose it is, has not been told since
    bool refused;            ///< what it sent last found no room
    BoundedText<longest_channel_name> name;
    struct Queued {
        std::uint32_t length;
        std::byte bytes[longest_channel_message];
    } queue[room];
};

/// All ends of a domain.  Outlives every Channels that it is given to.
class ChannelBoard {
public:
    ~ChannelBoard();

private:
    friend class Channels;
    [[nodiscard]] ChannelEnd* find(std::string_view name, const ChannelEnd* after) const;

    Spinlock lock_{};
    ChannelEnd* first_{};
};

/// The ends of one binding, or of the control domain.  All functions: any processor, with the board's lock inside.
class Channels {
public:
    static constexpr std::uint32_t maximum{8};

    Channels(ChannelBoard& board, Heap& heap, std::uint32_t binding) : board_{board}, heap_{heap}, binding_{binding} {}
    ~Channels();
    Channels(const Channels&) = delete;
    Channels& operator=(const Channels&) = delete;

    /// The number of the control domain's ends in their handles, among which no binding looks.
    static constexpr std::uint32_t of_control_domain{0};

    /// `told`: whose instance hears of messages; null: the control domain.  Fails with invalid_argument (the name), already_exists
    /// (this owner has an end of that name), conflict (two others have), limit_reached or no_memory.
    Expected<Handle> open(std::string_view name, VcpuBinding* told);
    /// Fails with invalid_argument, gone (the handle), not_found (nobody is at the other end) or limit_reached (too many wait there).
    Status send(Handle end, std::span<const std::byte> bytes);
    Status close(Handle end);

    /// The first message that waits for the owner; it goes on waiting until it is `done`.  False: none.
    bool next(ChannelMessage& message);
    void done(const ChannelMessage& message);

    /// The first message that waits at this end, which is the control domain's, is copied out and gone.  False: none waits.  Fails
    /// as send() does with a handle.
    Expected<bool> take(Handle end, ChannelMessage& message);
    struct EndState {
        std::uint32_t waiting;
        bool connected;  ///< somebody has the other end
    };
    Expected<EndState> state(Handle end);
    /// An end of the control domain's about which there is news: a first message waits, the other end was opened or closed, or there
    /// is room again for what was refused.  It is told once.  False: none.
    bool next_changed(Handle& end);
    /// Who hears that next_changed() would find something.  Set once, before the first domain.
    static void set_listener(void (*listener)());

    /// The instance that takes the other's place hears of messages from now on.
    void hand_over(VcpuBinding& told);
    /// All ends are closed.
    void clear();

private:
    Expected<ChannelEnd*> look_up(Handle end);
    void close(ChannelEnd& end);
    void copy_first(const ChannelEnd& end, ChannelMessage& message) const;
    static void drop_first(ChannelEnd& end);
    static void tell(ChannelEnd& end);
    [[nodiscard]] Handle handle_of(const ChannelEnd& end) const;

    ChannelBoard& board_;
    Heap& heap_;
    std::uint32_t binding_;
    VcpuBinding* told_{};
    ChannelEnd* ends_[maximum]{};
    std::uint32_t generations_[maximum]{};
};

}  // namespace hv::core

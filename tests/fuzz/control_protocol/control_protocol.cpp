// SPDX-License-Identifier: MIT
//
// The control server against any bytes in any pieces, and against frames that are right in their outer form
// with any inside.  The input is a script of small operations.  What must hold: the server comes to rest,
// every request in a sound stream has exactly one reply, and after the client went away nothing is left of
// what it had half-done.
#include <algorithm>
#include <cstdlib>
#include <optional>
#include <vector>

#include "fake_control_target.hpp"
#include "hv/core/control/server.hpp"

namespace {

using namespace hv::protocol;
using hv::core::control::ControlServer;

void require(bool condition)
{
    if (!condition)
        std::abort();
}

/// Takes the fuzzer's bytes from the front.
class Script {
public:
    Script(const std::uint8_t* data, std::size_t size) : rest_{data, size} {}
    [[nodiscard]] bool empty() const { return rest_.empty(); }
    std::span<const std::uint8_t> bytes(std::size_t most)
    {
        const auto part = rest_.first(std::min(most, rest_.size()));
        rest_ = rest_.subspan(part.size());
        return part;
    }
    std::uint8_t byte() { return rest_.empty() ? std::uint8_t{0} : bytes(1)[0]; }
    std::uint16_t word() { return static_cast<std::uint16_t>(byte() | byte() << 8); }

private:
    std::span<const std::uint8_t> rest_;
};

struct Session {
    hv::test::FakeControlTarget target{};
    /// In one place: its buffers would cost more as memory that is new each time than all that is done with them.
    std::optional<ControlServer>& server;
    std::vector<std::byte> output{};
    std::uint64_t asked{0};
    std::uint64_t answered{0};
    bool sound{true};  ///< only whole frames were sent since hello
    std::uint64_t next_id{1};

    void drain()
    {
        std::byte room[777];
        while (const std::size_t length{server->transmit(room)})
            output.insert(output.end(), room, room + length);
        while (output.size() >= sizeof(FrameHeader)) {
            const auto header = decode_header(output);
            require(header.has_value());
            const std::size_t whole{sizeof(FrameHeader) + header.value().body_length +
                                    header.value().bulk_length};
            if (output.size() < whole)
                return;
            require(header.value().body_length <= maximum_body &&
                    header.value().bulk_length <= maximum_reply_bulk);
            if (header.value().kind == static_cast<std::uint16_t>(FrameKind::reply)) {
                ++answered;
                const FrameView view{header.value(), std::span{output}.subspan(sizeof(FrameHeader),
                                                                               header.value().body_length)};
                require(header.value().status == 0 || decode_refusal(view).has_value());
            }
            output.erase(output.begin(), output.begin() + static_cast<std::ptrdiff_t>(whole));
        }
    }
    void work()
    {
        for (unsigned slice = 0;; ++slice) {
            require(slice < 100'000);
            const bool more{server->step()};
            drain();
            if (!more && !server->needs_step() && !server->has_output())
                return;
        }
    }
    void send(std::span<const std::byte> bytes)
    {
        for (unsigned stuck = 0; !bytes.empty(); ++stuck) {
            require(stuck < 100'000);
            bytes = bytes.subspan(server->receive(bytes));
            work();
        }
    }
    void send_frame(Script& script, std::uint16_t command)
    {
        FrameHeader header{frame_magic, 1, 1, command, 0, 0, 0, next_id++, 0, 0};
        const auto body = script.bytes(script.byte());
        header.body_length = static_cast<std::uint32_t>(body.size());
        header.fixed_length =
            static_cast<std::uint16_t>(std::min<std::size_t>(body.size(), script.word() % 400));
        if (command == 48 || command == 68)
            header.bulk_length = script.word();
        std::vector<std::byte> frame(sizeof header + body.size() + header.bulk_length);
        std::memcpy(frame.data(), &header, sizeof header);
        if (!body.empty())
            std::memcpy(frame.data() + sizeof header, body.data(), body.size());
        ++asked;
        send(frame);
    }
    void hello()
    {
        std::byte buffer[128];
        FrameBuilder builder{buffer};
        builder.request(Command::hello, next_id++);
        require(builder.fixed(HelloRequest{1, 1, 0, "fuzz"}).has_value());
        ++asked;
        send(builder.finish().value());
    }
    void reconnect()
    {
        server->disconnected();
        output.clear();
        work();
        for (const auto& [id, domain] : target.domains)
            require(domain.state != DomainState::building);
        require(target.uploads.empty() && target.channels.empty());
        server->connected();
        asked = answered = 0;
        sound = true;
        hello();
    }
};

constexpr std::uint16_t commands[]{1,  2,  3,  4,  5,  16, 17, 18, 19, 20, 21, 22, 23, 32, 33, 34, 35, 48, 49,
                                   50, 51, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 0,  999};
/// Those that came later, so that the inputs that are kept still mean what they did.
constexpr std::uint16_t later_commands[]{96, 97, 98, 99};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    Script script{data, size};
    static std::optional<ControlServer> server;
    Session session{.server = server};
    server.emplace(session.target);
    session.target.largest_memory = 1 << 16;
    session.target.slices = 1 + script.byte() % 4;
    session.server->connected();
    session.hello();
    while (!script.empty()) {
        const std::uint8_t operation{script.byte()};
        if (operation < 8) {
            const auto noise = script.bytes(1 + script.byte());
            session.sound = false;
            session.send(std::as_bytes(noise));
        } else if (operation < 12) {
            session.reconnect();
        } else if (operation < 16) {
            session.target.ended.push_back({operation, 1, "x"});
            session.target.log += 'l';
            session.target.channel_news.push_back({operation, 1, 1, 0, 0});
            for (auto& [number, channel] : session.target.channels)
                channel.waiting.emplace_back(operation == 12 ? 512 : 1, 'm');
            session.server->events_waiting();
        } else {
            const bool later{operation >= 244};
            session.send_frame(script, later ? later_commands[operation % std::size(later_commands)]
                                             : commands[operation % std::size(commands)]);
            require(!session.sound || session.asked == session.answered);
        }
        session.work();
    }
    session.reconnect();
    return 0;
}

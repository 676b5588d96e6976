// SPDX-License-Identifier: MIT
//
// A client of the control port that waits for each answer: for tests that ask thousands of times and have stopped xld, whose port
// it is.  Events in between are skipped.  Whatever goes wrong with the port itself ends the program.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "hv/protocol/codec.hpp"

namespace test {

namespace protocol = hv::protocol;

[[noreturn]] inline void give_up(const std::string& why)
{
    std::fprintf(stderr, "injector: %s\n", why.c_str());
    std::exit(1);
}

struct Answer {
    protocol::FrameHeader header{};
    std::vector<std::byte> body;
    std::vector<std::byte> bulk;

    [[nodiscard]] bool good() const { return header.status == 0; }
    [[nodiscard]] protocol::FrameView view() const { return {header, body}; }
    /// The sentence of a refusal.
    [[nodiscard]] std::string why() const
    {
        const auto refusal = protocol::decode_refusal(view());
        return refusal ? std::string{refusal.value().text} : std::string{};
    }
    template <typename T>
    [[nodiscard]] T fixed() const
    {
        const auto value = view().template fixed<T>();
        if (!good() || !value)
            give_up("not the answer that was expected: " + why());
        return value.value();
    }
};

class ControlPort {
public:
    ControlPort() : descriptor_{open_port()}
    {
        if (descriptor_ < 0)
            give_up("the control port cannot be opened");
        protocol::HelloRequest hello{protocol::lowest_version, protocol::highest_version, 0, {}};
        protocol::set_text_truncated(hello.client, "injector");
        static_cast<void>(ask(protocol::Command::hello, hello).fixed<protocol::HelloReply>());
    }

    template <typename Request>
    Answer ask(protocol::Command command, const Request& request, std::span<const std::byte> tail = {},
               std::span<const std::byte> bulk = {})
    {
        std::vector<std::byte> room(sizeof(protocol::FrameHeader) + protocol::maximum_body);
        protocol::FrameBuilder frame{room};
        frame.request(command, ++number_);
        if (!frame.fixed(request) || !frame.tail_bytes(tail))
            give_up("a request is too long");
        send(frame.finish(static_cast<std::uint32_t>(bulk.size())).value());
        send(bulk);
        for (;;) {
            Answer answer = receive();
            if (answer.header.kind == static_cast<std::uint16_t>(protocol::FrameKind::reply) &&
                answer.header.request_id == number_)
                return answer;
        }
    }

private:
    static int open_port()
    {
        for (const auto& entry : std::filesystem::directory_iterator{"/sys/class/virtio-ports"}) {
            std::ifstream file{entry.path() / "name"};
            std::string name;
            if (std::getline(file, name) && name == "graft.control")
                return ::open(("/dev/" + entry.path().filename().string()).c_str(), O_RDWR | O_CLOEXEC);
        }
        return -1;
    }
    void send(std::span<const std::byte> bytes) const
    {
        while (!bytes.empty()) {
            const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
            if (count <= 0)
                give_up("the control port takes nothing");
            bytes = bytes.subspan(static_cast<std::size_t>(count));
        }
    }
    std::vector<std::byte> read_exactly(std::size_t length) const
    {
        constexpr int patience_ms{120'000};
        std::vector<std::byte> bytes(length);
        for (std::size_t have = 0; have < length;) {
            pollfd one{descriptor_, POLLIN, 0};
            const bool ready = ::poll(&one, 1, patience_ms) == 1;
            const ssize_t count = ready ? ::read(descriptor_, bytes.data() + have, length - have) : 0;
            if (count <= 0)
                give_up("the hypervisor does not answer");
            have += static_cast<std::size_t>(count);
        }
        return bytes;
    }
    [[nodiscard]] Answer receive() const
    {
        const auto header = protocol::decode_header(read_exactly(sizeof(protocol::FrameHeader)));
        if (!header)
            give_up("what the control port says is no frame");
        Answer answer{header.value(), {}, {}};
        answer.body = read_exactly(answer.header.body_length);
        answer.bulk = read_exactly(answer.header.bulk_length);
        return answer;
    }

    int descriptor_;
    std::uint64_t number_{};
};

}  // namespace test

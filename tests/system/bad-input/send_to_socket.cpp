// SPDX-License-Identifier: MIT
//
// Sends standard input to a unix socket and hangs up at once, whatever the other end says: a client that keeps no protocol.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>

int main(int count, char** words)
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (count != 2 || std::strlen(words[1]) >= sizeof address.sun_path)
        return 2;
    std::strcpy(address.sun_path, words[1]);
    const int socket{::socket(AF_UNIX, SOCK_STREAM, 0)};
    if (socket < 0 || ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        std::perror("connect");
        return 1;
    }
    std::array<char, 4096> bytes;
    for (ssize_t got = ::read(0, bytes.data(), bytes.size()); got > 0; got = ::read(0, bytes.data(), bytes.size()))
        if (::write(socket, bytes.data(), static_cast<std::size_t>(got)) != got)
            return 1;
    return 0;
}

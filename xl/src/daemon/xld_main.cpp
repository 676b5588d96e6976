// SPDX-License-Identifier: MIT
//
// The program xld: options, signals, and a Daemon.  Stays in the foreground: what starts it keeps it.
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>

#include <poll.h>

#include "daemon/daemon.hpp"
#include "daemon/log.hpp"

namespace {

/// SIGTERM and SIGINT as a descriptor, so that they are taken between two turns of the loop.
hv::xl::FileDescriptor termination_signals()
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    return hv::xl::FileDescriptor{::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC)};
}

}  // namespace

int main(int argc, char** argv)
{
    hv::xl::DaemonOptions options;
    CLI::App app{"xld: owns Graft's ports in the control domain, serves xl, keeps console logs, and does "
                 "what a domain's "
                 "config says when the domain ends"};
    app.add_option("--socket", options.socket, "the socket that xl connects to")->capture_default_str();
    app.add_option("--group", options.group, "the group that may use it")->capture_default_str();
    app.add_option("--extensions", options.paths.extensions, "where NAME.hvx is looked for")
        ->capture_default_str();
    app.add_option("--logs", options.paths.logs, "where xld.log and console-NAME.log go")
        ->capture_default_str();
    app.add_option("--state", options.paths.state, "where is kept what another xld must know of the domains")
        ->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    try {
        const hv::xl::FileDescriptor signals{termination_signals()};
        hv::xl::open_log(options.paths.logs + "/xld.log");
        hv::xl::Daemon daemon{options};
        daemon.loop().watch(
            signals.number(), [] { return static_cast<short>(POLLIN); }, [&](short) { daemon.stop(); });
        daemon.run();
        return 0;
    } catch (const std::exception& error) {
        hv::xl::log_error(error.what());
        std::fprintf(stderr, "xld: %s\n", error.what());
        return 1;
    }
}

// SPDX-License-Identifier: MIT
//
// What the command line said, before anything is done about it.
#pragma once

#include <string>
#include <vector>

namespace hv::xl {

struct Arguments {
    std::string socket{"/run/graft/xld.sock"};
    std::string extensions_folder{"/usr/lib/graft/extensions"};
    bool json{};

    std::string file;                   ///< a config or a module; of ext-keygen: what its files' names begin with
    std::string key;                    ///< ext-sign's secret key
    std::vector<std::string> keys;      ///< the public keys that ext-verify trusts
    std::string domain;                 ///< name, number or UUID
    std::string name;                   ///< a new name, or a module's, or a channel's
    std::vector<std::string> settings;  ///< --set, or params of ext-attach
    std::string placement;              ///< of ext-attach; empty: the default
    std::string on_fault;
    bool console{};
    bool paused{};
    bool dry_run{};
    unsigned rollback_after{};  ///< seconds of a swap's probation; 0: none
    unsigned fail_at{};         ///< the step of a swap that is to fail; 0: none
    bool long_form{};
    bool all{};  ///< every report; or ext-swap in every domain: `domain` is then the old name, `name` the new one
    bool follow{};
    bool clear{};
    bool compare{};
    bool wait{};
    unsigned timeout{120};  ///< seconds that --wait waits
    std::vector<std::string> messages;  ///< --send of channel; none: standard input's lines
    int receive{-1};                    ///< messages that channel waits for; -1: without end
    unsigned patience{};                ///< seconds that channel takes at most; 0: no limit
    bool hex{};                         ///< messages are written as pairs of hexadecimal digits
    std::string core;  ///< ext-report: the file that the module's memory goes to
    std::string trigger;
    unsigned vcpu{};
};

}  // namespace hv::xl

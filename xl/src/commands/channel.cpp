// SPDX-License-Identifier: MIT
//
// The verb that talks to an extension of a domain.
#include "client/channel_client.hpp"
#include "commands/commands.hpp"

namespace hv::xl {

ExitCode run_channel_verb(const Arguments& arguments)
{
    Connection connection{arguments.socket};
    return run_channel(connection, {{"verb", "channel"}, {"domain", arguments.domain}, {"name", arguments.name}}, arguments);
}

}  // namespace hv::xl

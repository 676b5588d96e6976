// SPDX-License-Identifier: MIT
//
// The program xl.
#include "commands/commands.hpp"

int main(int argc, char** argv)
{
    return hv::xl::run_xl(argc, argv);
}

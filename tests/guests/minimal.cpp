// SPDX-License-Identifier: MIT
//
// The smallest test guest: says what it finds of its machine and turns it off.
#include "kit/boot.hpp"
#include "kit/console.hpp"
#include "kit/interfaces.hpp"

extern "C" void guest_main()
{
    guest::say_begin("minimal");
    guest::say_end();
}

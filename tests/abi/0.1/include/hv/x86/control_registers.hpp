// SPDX-License-Identifier: MIT
//
// Bits of the control registers, RFLAGS and the debug registers.  Definitions only.  [APM2-3.41 §3.1].
#pragma once

#include "hv/base/field.hpp"

namespace hv::x86 {

struct Cr0 {
    using PE = Bit<0>;
    using MP = Bit<1>;
    using EM = Bit<2>;
    using TS = Bit<3>;
    using ET = Bit<4>;
    using NE = Bit<5>;
    using WP = Bit<16>;
    using AM = Bit<18>;
    using NW = Bit<29>;
    using CD = Bit<30>;
    using PG = Bit<31>;
};

struct Cr4 {
    using VME = Bit<0>;
    using PVI = Bit<1>;
    using TSD = Bit<2>;
    using DE = Bit<3>;
    using PSE = Bit<4>;
    using PAE = Bit<5>;
    using MCE = Bit<6>;
    using PGE = Bit<7>;
    using PCE = Bit<8>;
    using OSFXSR = Bit<9>;
    using OSXMMEXCPT = Bit<10>;
    using UMIP = Bit<11>;
    using LA57 = Bit<12>;
    using FSGSBASE = Bit<16>;
    using PCIDE = Bit<17>;
    using OSXSAVE = Bit<18>;
    using SMEP = Bit<20>;
    using SMAP = Bit<21>;
    using PKE = Bit<22>;
    using CET = Bit<23>;
    using PKS = Bit<24>;
};

struct Rflags {
    using CF = Bit<0>;
    using PF = Bit<2>;
    using AF = Bit<4>;
    using ZF = Bit<6>;
    using SF = Bit<7>;
    using TF = Bit<8>;
    using IF = Bit<9>;
    using DF = Bit<10>;
    using OF = Bit<11>;
    using IOPL = Field<13, 12>;
    using NT = Bit<14>;
    using RF = Bit<16>;
    using VM = Bit<17>;
    using AC = Bit<18>;
    static constexpr std::uint64_t always_one{2};
};

}  // namespace hv::x86

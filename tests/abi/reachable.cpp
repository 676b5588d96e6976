// SPDX-License-Identifier: MIT
//
// Every structure of the extension ABI in the signature of an exported function, so that abidw finds it, all that it is
// made of, and the type of each service and hook, in this library's debug information.
#include "hv/abi/manifest.hpp"
#include "hv/abi/state_record.hpp"

using namespace hv::abi;

extern "C" {
[[gnu::used]] void graft_manifest(const Manifest*) {}
[[gnu::used]] void graft_hook_table(const HookTable*) {}
[[gnu::used]] void graft_host_table(const HostTable*) {}
[[gnu::used]] void graft_windows(const WindowRequest*, const WindowGrant*, const HypercallMatch*) {}
[[gnu::used]] void graft_declared(const DeclaredLeaf*, const DeclaredMsrRead*, const DeclaredMsrWrite*,
                                  const DeclaredEoiAssist*, const TimerSetting*) {}
[[gnu::used]] void graft_contexts(const DomainContext*, const VcpuContext*, const Parameter*) {}
[[gnu::used]] void graft_exits(const ExitSubscription*, const ExitFrame*, RunState) {}
[[gnu::used]] void graft_registers(const GuestRegisters*, const HypercallFrame*, const CpuidResult*) {}
[[gnu::used]] void graft_state(const StateRecordHeader*, const StateField*, const StateBlock*) {}
[[gnu::used]] void graft_verdict(Verdict, ShutdownReason, LogLevel) {}
}

// SPDX-License-Identifier: MIT
//
// The table of features by leaf, register and bit, and the masks made of it.  Positions are those of Intel's
// SDM volume 2 (CPUID) and AMD's APM volume 3 (appendix E); names are those of Linux's /proc/cpuinfo.
#include "config/cpuid_masks.hpp"

#include <algorithm>

#include "config/json_text.hpp"

namespace hv::xl {
namespace {

using enum CpuidRegister;

constexpr std::uint32_t first_extension_leaf{0x4000'0000};
constexpr std::uint32_t last_extension_leaf{0x4fff'ffff};

/// Features of one register of one leaf, in the order of the manual's table.
struct Group {
    std::uint32_t leaf;
    std::uint32_t subleaf;
    CpuidRegister where;
    std::vector<std::pair<std::string_view, std::uint8_t>> bits;
};

const std::vector<Group>& groups()
{
    static const std::vector<Group> table{
        {1,
         0,
         ecx,
         {{"sse3", 0},
          {"pclmulqdq", 1},
          {"monitor", 3},
          {"ssse3", 9},
          {"fma", 12},
          {"cx16", 13},
          {"pcid", 17},
          {"sse4_1", 19},
          {"sse4_2", 20},
          {"x2apic", 21},
          {"movbe", 22},
          {"popcnt", 23},
          {"tsc_deadline_timer", 24},
          {"aes", 25},
          {"xsave", 26},
          {"avx", 28},
          {"f16c", 29},
          {"rdrand", 30}}},
        {1,
         0,
         edx,
         {{"tsc", 4},
          {"mce", 7},
          {"cx8", 8},
          {"apic", 9},
          {"sep", 11},
          {"mtrr", 12},
          {"pge", 13},
          {"mca", 14},
          {"cmov", 15},
          {"pat", 16},
          {"pse36", 17},
          {"clflush", 19},
          {"mmx", 23},
          {"fxsr", 24},
          {"sse", 25},
          {"sse2", 26},
          {"ht", 28}}},
        {6, 0, eax, {{"arat", 2}}},
        {7, 0, ebx, {{"fsgsbase", 0},    {"tsc_adjust", 1},  {"bmi1", 3},     {"hle", 4},
                     {"avx2", 5},        {"smep", 7},        {"bmi2", 8},     {"erms", 9},
                     {"invpcid", 10},    {"rtm", 11},        {"mpx", 14},     {"avx512f", 16},
                     {"avx512dq", 17},   {"rdseed", 18},     {"adx", 19},     {"smap", 20},
                     {"avx512ifma", 21}, {"clflushopt", 23}, {"clwb", 24},    {"avx512cd", 28},
                     {"sha_ni", 29},     {"avx512bw", 30},   {"avx512vl", 31}}},
        {7,
         0,
         ecx,
         {{"avx512vbmi", 1},
          {"umip", 2},
          {"pku", 3},
          {"avx512_vbmi2", 6},
          {"gfni", 8},
          {"vaes", 9},
          {"vpclmulqdq", 10},
          {"avx512_vnni", 11},
          {"avx512_bitalg", 12},
          {"avx512_vpopcntdq", 14},
          {"la57", 16},
          {"rdpid", 22}}},
        {0xd, 1, eax, {{"xsaveopt", 0}, {"xsavec", 1}, {"xgetbv1", 2}, {"xsaves", 3}}},
        {0x8000'0001,
         0,
         ecx,
         {{"lahf_lm", 0},
          {"cmp_legacy", 1},
          {"abm", 5},
          {"sse4a", 6},
          {"misalignsse", 7},
          {"3dnowprefetch", 8},
          {"osvw", 9},
          {"xop", 11},
          {"fma4", 16},
          {"tbm", 21},
          {"topoext", 22}}},
        {0x8000'0001,
         0,
         edx,
         {{"syscall", 11},
          {"nx", 20},
          {"mmxext", 22},
          {"fxsr_opt", 25},
          {"pdpe1gb", 26},
          {"rdtscp", 27},
          {"lm", 29},
          {"3dnowext", 30},
          {"3dnow", 31}}},
        {0x8000'0007, 0, edx, {{"constant_tsc", 8}}},
        {0x8000'0008, 0, ebx, {{"clzero", 0}}},
    };
    return table;
}

/// The mask of the leaf, made if it is not there yet.
CpuidMask& mask_of(std::vector<CpuidMask>& masks, std::uint32_t leaf, std::uint32_t subleaf)
{
    for (CpuidMask& mask : masks)
        if (mask.leaf == leaf && mask.subleaf == subleaf)
            return mask;
    CpuidMask fresh;
    fresh.leaf = leaf;
    fresh.subleaf = subleaf;
    masks.push_back(fresh);
    return masks.back();
}

void hide(std::vector<CpuidMask>& masks, const std::string& name)
{
    for (const CpuidFeature& feature : cpuid_features()) {
        if (feature.name != name)
            continue;
        CpuidMask& mask = mask_of(masks, feature.leaf, feature.subleaf);
        mask.keep[static_cast<std::size_t>(feature.where)] &= ~(1u << feature.bit);
    }
}

std::uint32_t number_of(const std::string& text)
{
    return static_cast<std::uint32_t>(std::stoul(text, nullptr, text.starts_with("0x") ? 16 : 10));
}

void apply_registers(CpuidMask& mask, const Json& registers, const std::string& place,
                     std::vector<Problem>& problems)
{
    static constexpr std::array<const char*, 4> names{"eax", "ebx", "ecx", "edx"};
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (!registers.contains(names[i]))
            continue;
        const Json& one = registers[names[i]];
        const std::uint32_t clear{number_of(one.value("clear", "0x0"))};
        const std::uint32_t set{number_of(one.value("set", "0x0"))};
        if ((clear & set) != 0 || (set & ~mask.keep[i]) != 0)
            problems.push_back({"a bit is both hidden or cleared and set", place + "/" + names[i], {}});
        mask.keep[i] &= ~clear;
        mask.set[i] |= set;
    }
}

}  // namespace

const std::vector<CpuidFeature>& cpuid_features()
{
    static const std::vector<CpuidFeature> features = [] {
        std::vector<CpuidFeature> all;
        for (const Group& group : groups())
            for (const auto& [name, bit] : group.bits)
                all.push_back({name, group.leaf, group.subleaf, group.where, bit});
        return all;
    }();
    return features;
}

std::vector<CpuidMask> cpuid_masks(const Json& cpuid, std::vector<Problem>& problems)
{
    std::vector<CpuidMask> masks;
    for (const auto& name : cpuid.value("hide", Json::array()))
        hide(masks, name.get<std::string>());
    std::vector<std::pair<std::uint32_t, std::uint32_t>> seen;
    const Json leaves = cpuid.value("leaves", Json::object());
    for (const auto& [key, registers] : leaves.items()) {
        const std::string place{"/cpuid/leaves/" + pointer_step(key)};
        const auto colon = key.find(':');
        const std::uint32_t leaf{number_of(key.substr(0, colon))};
        const std::uint32_t subleaf{colon == std::string::npos ? 0 : number_of(key.substr(colon + 1))};
        if (leaf >= first_extension_leaf && leaf <= last_extension_leaf)
            problems.push_back(
                {"the leaves from 0x40000000 to 0x4fffffff belong to the extensions", place, {}});
        if (std::find(seen.begin(), seen.end(), std::pair{leaf, subleaf}) != seen.end())
            problems.push_back({"the same leaf is given twice", place, {}});
        seen.emplace_back(leaf, subleaf);
        apply_registers(mask_of(masks, leaf, subleaf), registers, place, problems);
    }
    return masks;
}

}  // namespace hv::xl

// SPDX-License-Identifier: MIT
//
// Edit distance with swaps of neighbours (optimal string alignment), and the choice made by it.
#include "base/suggest.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <vector>

namespace hv::xl {
namespace {

constexpr std::size_t longest_name{64};

bool same_letter(char a, char b)
{
    return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b)
{
    std::array<std::vector<std::size_t>, 3> rows;
    for (auto& row : rows)
        row.resize(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j)
        rows[0][j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        auto& row = rows[i % 3];
        const auto& above = rows[(i + 2) % 3];
        const auto& two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t change{same_letter(a[i - 1], b[j - 1]) ? 0u : 1u};
            row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + change});
            if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]))
                row[j] = std::min(row[j], two_above[j - 2] + 1);
        }
    }
    return rows[a.size() % 3][b.size()];
}

std::string nearest_name(std::string_view wrong, std::span<const std::string> candidates)
{
    if (wrong.size() > longest_name)
        return {};
    std::string best;
    std::size_t best_distance{std::max<std::size_t>(2, wrong.size() / 3) + 1};
    for (const std::string& candidate : candidates) {
        const std::size_t distance{edit_distance(wrong, candidate)};
        if (distance < best_distance && distance < candidate.size()) {
            best_distance = distance;
            best = candidate;
        }
    }
    return best;
}

}  // namespace hv::xl

// SPDX-License-Identifier: MIT
//
// Dates of the proleptic Gregorian calendar as seconds since 1970, for a clock chip that counts in fields.
#pragma once

#include <cstdint>

namespace hv::core {

struct CalendarTime {
    std::int32_t year{1970};
    std::uint8_t month{1};    ///< 1 to 12
    std::uint8_t day{1};      ///< 1 to 31
    std::uint8_t weekday{4};  ///< 0 is Sunday
    std::uint8_t hour{};
    std::uint8_t minute{};
    std::uint8_t second{};

    friend constexpr bool operator==(const CalendarTime&, const CalendarTime&) = default;
};

inline constexpr std::int64_t seconds_per_day{86'400};

/// Days from 1970-01-01; a day beyond its month's end runs over into the next.
constexpr std::int64_t days_since_1970(std::int64_t year, unsigned month, unsigned day)
{
    // Years begin in March, so that the leap day is the last one.
    const std::int64_t shifted = month <= 2 ? year - 1 : year;
    const std::int64_t era = (shifted >= 0 ? shifted : shifted - 399) / 400;
    const std::int64_t year_of_era = shifted - era * 400;
    const std::int64_t month_from_march = (month + 9) % 12;
    const std::int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    return era * 146'097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719'468;
}

constexpr std::int64_t to_seconds(const CalendarTime& time)
{
    return days_since_1970(time.year, time.month, time.day) * seconds_per_day + time.hour * 3'600 +
           time.minute * 60 + time.second;
}

constexpr CalendarTime to_calendar(std::int64_t seconds)
{
    std::int64_t days = seconds / seconds_per_day;
    std::int64_t rest = seconds % seconds_per_day;
    if (rest < 0) {
        rest += seconds_per_day;
        --days;
    }
    const std::int64_t shifted = days + 719'468;
    const std::int64_t era = (shifted >= 0 ? shifted : shifted - 146'096) / 146'097;
    const std::int64_t day_of_era = shifted - era * 146'097;
    const std::int64_t year_of_era =
        (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
    const std::int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const std::int64_t month_from_march = (5 * day_of_year + 2) / 153;
    const std::int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    const std::int64_t weekday = ((days + 4) % 7 + 7) % 7;
    return {.year = static_cast<std::int32_t>(year_of_era + era * 400 + (month <= 2 ? 1 : 0)),
            .month = static_cast<std::uint8_t>(month),
            .day = static_cast<std::uint8_t>(day_of_year - (153 * month_from_march + 2) / 5 + 1),
            .weekday = static_cast<std::uint8_t>(weekday),
            .hour = static_cast<std::uint8_t>(rest / 3'600),
            .minute = static_cast<std::uint8_t>(rest / 60 % 60),
            .second = static_cast<std::uint8_t>(rest % 60)};
}

static_assert(to_calendar(0) == CalendarTime{});
static_assert(to_seconds({.year = 2000, .month = 2, .day = 29}) == 951'782'400);
static_assert(to_calendar(951'782'400).day == 29 && to_calendar(951'782'400 + seconds_per_day).month == 3);

}  // namespace hv::core

// SPDX-License-Identifier: MIT
//
// One pass of nlohmann's SAX parser looks for duplicate keys and depth, a second builds the value.
#include "config/json_text.hpp"

#include <algorithm>
#include <set>

namespace hv::xl {
namespace {

/// Follows the parser through the text and knows the pointer of where it is.
class DuplicateFinder : public nlohmann::json_sax<nlohmann::json> {
public:
    std::vector<Problem> problems;

    bool null() override { return value(); }
    bool boolean(bool) override { return value(); }
    bool number_integer(number_integer_t) override { return value(); }
    bool number_unsigned(number_unsigned_t) override { return value(); }
    bool number_float(number_float_t, const string_t&) override { return value(); }
    bool string(string_t&) override { return value(); }
    bool binary(binary_t&) override { return value(); }
    bool start_object(std::size_t) override { return open(false); }
    bool start_array(std::size_t) override { return open(true); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool key(string_t& name) override
    {
        Level& level = levels_.back();
        level.step = pointer_step(name);
        if (!level.keys.insert(name).second)
            problems.push_back({"the key \"" + name + "\" is given twice", here(), {}});
        return true;
    }
    bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception& error) override
    {
        const std::string text{error.what()};
        const auto blank = text.find("parse error");  // what() begins with a tag of the library's own
        problems.push_back({blank == std::string::npos ? text : text.substr(blank), {}, {}});
        return false;
    }

private:
    struct Level {
        bool array{};
        std::size_t index{};
        std::string step;
        std::set<std::string> keys;
    };

    bool value()
    {
        if (!levels_.empty() && levels_.back().array)
            ++levels_.back().index;
        return true;
    }
    bool open(bool array)
    {
        if (levels_.size() >= deepest_json) {
            problems.push_back({"nested deeper than " + std::to_string(deepest_json) + " levels", {}, {}});
            return false;
        }
        Level level;
        level.array = array;
        levels_.push_back(std::move(level));
        return true;
    }
    bool close()
    {
        levels_.pop_back();
        return value();
    }
    [[nodiscard]] std::string here() const
    {
        std::string pointer;
        for (const Level& level : levels_)
            pointer += "/" + (level.array ? std::to_string(level.index) : level.step);
        return pointer;
    }

    std::vector<Level> levels_;
};

}  // namespace

std::string pointer_step(std::string_view key)
{
    std::string step;
    for (const char character : key) {
        if (character == '~')
            step += "~0";
        else if (character == '/')
            step += "~1";
        else
            step += character;
    }
    return step;
}

Json parse_json_text(std::string_view text)
{
    DuplicateFinder finder;
    nlohmann::json::sax_parse(text.begin(), text.end(), &finder, nlohmann::json::input_format_t::json, true,
                              true);
    if (!finder.problems.empty())
        throw Failure{ExitCode::bad_text, finder.problems};
    return Json::parse(text.begin(), text.end(), nullptr, true, true);
}

bool has_control_character(std::string_view text)
{
    return std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; });
}

}  // namespace hv::xl

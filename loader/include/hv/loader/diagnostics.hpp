// SPDX-License-Identifier: MIT
//
// How the loader says what is wrong: one sentence and the place in the file, to an object of the caller's.
// The hypervisor sends the sentence to the user of `xl`, a test collects it, a fuzzer ignores it; the loader
// never prints.
#pragma once

#include <array>
#include <string_view>

#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"

namespace hv::loader {

/// Where in the file something is wrong.
struct FileOffset {
    std::uint64_t value;
};

class Diagnostics {
public:
    /// Called once for a refused module: the sentence, without a full stop and without the place.
    virtual void error(std::string_view what, FileOffset where) = 0;

protected:
    ~Diagnostics() = default;
};

/// For a caller that does not want to know.
class IgnoredDiagnostics final : public Diagnostics {
public:
    void error(std::string_view, FileOffset) override {}
};

/// Keeps the sentence: "section '.text': … (at file offset 0x1c0)".
class KeptDiagnostics final : public Diagnostics {
public:
    void error(std::string_view what, FileOffset where) override
    {
        text_.clear();
        say(text_, what, " (at file offset ", Hex{where.value}, ")");
        where_ = where.value;
    }
    [[nodiscard]] std::string_view text() const { return text_.view(); }
    [[nodiscard]] std::uint64_t where() const { return where_; }

private:
    BoundedText<320> text_;
    std::uint64_t where_{};
};

/// A name out of a file that somebody else made, fit to be shown: quoted, cut, and nothing in it but
/// printable ASCII.
class ShownName {
public:
    explicit ShownName(std::string_view name)
    {
        constexpr std::size_t longest{64};
        text_[size_++] = '\'';
        for (const char character : name.substr(0, longest))
            text_[size_++] = character >= ' ' && character <= '~' ? character : '?';
        text_[size_++] = '\'';
    }
    operator std::string_view() const { return {text_.data(), size_}; }  // NOLINT: it is a text

private:
    std::array<char, 66> text_{};
    std::size_t size_{};
};

/// Reports the sentence that the parts make, and is the error that the stage returns.
template <typename... Parts>
[[nodiscard]] Error refused(Diagnostics& diagnostics, Error error, std::uint64_t where, const Parts&... parts)
{
    BoundedText<256> sentence;
    say(sentence, parts...);
    diagnostics.error(sentence.view(), FileOffset{where});
    return error;
}

}  // namespace hv::loader

// SPDX-License-Identifier: MIT
//
// A guest that reports its own crash: five numbers, or a text in its memory.  It goes to the log, and
// the domain ends with the line that says most. Specification: [TLFS-6.0b "Partition Crash Enlightenment"].
#include "viridian.hpp"

namespace hv::viridian {
namespace {

/// What of a line is kept; the rest is cut.
constexpr std::size_t longest_line{200};
using Line = BoundedText<longest_line>;

/// Takes a text byte by byte and keeps the line to quote: the last that tells of a panic, else the last.
/// Lines from number `first_logged` on go to the log.
class CrashText {
public:
    static constexpr std::uint32_t log_nothing{0xffff'ffff};

    explicit CrashText(std::uint32_t first_logged) : first_logged_{first_logged} {}

    void take(char byte)
    {
        if (byte == '\n' || byte == '\0')
            end_line();
        else
            line_.append(byte >= ' ' && byte <= '~' ? byte : '.');
    }
    void end_line()
    {
        const std::string_view line{line_.view()};
        const bool tells{line.find("panic - ") != line.npos || line.find("panic: ") != line.npos};
        if (!line.empty() && (tells || !told_)) {
            quote_.clear();
            quote_.append(line);
        }
        if (!line.empty() && number_ >= first_logged_)
            ext::log(abi::LogLevel::warning, "guest: ", line);
        if (tells) {
            told_ = true;
            panic_line_ = number_;
        }
        line_.clear();
        ++number_;
    }
    [[nodiscard]] std::string_view quote() const { return quote_.view(); }
    /// The line that tells of the panic, or the first where none does.
    [[nodiscard]] std::uint32_t panic_line() const { return panic_line_; }

private:
    Line line_;
    Line quote_;
    std::uint32_t first_logged_;
    std::uint32_t number_{};
    std::uint32_t panic_line_{};
    bool told_{};
};

/// Reads what it can of the text; a part that lies nowhere in the guest's memory ends it.
void read_text(const Viridian::Vcpu& vcpu, std::uint64_t address, std::uint64_t length, CrashText& text)
{
    constexpr std::uint64_t piece{128};
    const std::uint64_t bytes{std::min(length, tlfs::longest_crash_message)};
    for (std::uint64_t done = 0; done < bytes; done += piece) {
        std::array<std::byte, piece> buffer{};
        const auto here = std::span{buffer}.first(std::min(piece, bytes - done));
        if (!vcpu.memory().read_bytes(GuestPhysical{address + done}, here))
            break;
        for (const std::byte byte : here)
            text.take(static_cast<char>(byte));
    }
    text.end_line();
}

void append_numbers(TextWriter& text, const std::uint64_t (&parameters)[tlfs::crash_parameter_count])
{
    for (const std::uint64_t parameter : parameters)
        say(text, " ", Hex{parameter});
}

}  // namespace

Status Viridian::write_crash_parameter(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value)
{
    HV_TRY(check_offered(vcpu, Feature::crash));
    auto* const state = HV_TRY(vcpu.update_domain());
    state->crash_parameters[offset - tlfs::offset_of(tlfs::HV_X64_MSR_CRASH_P0)] = value;
    return Done{};
}

Status Viridian::write_crash_control(Vcpu& vcpu, std::uint32_t, std::uint64_t value)
{
    using Control = tlfs::CrashControl;
    HV_TRY(check_offered(vcpu, Feature::crash));
    if (!Control::CrashNotify::get(value))
        return Done{};
    const auto& reported = HV_TRY(vcpu.update_domain())->crash_parameters;
    Line reason;
    say(reason, "the guest reports a crash:");
    append_numbers(reason, reported);
    ext::log(abi::LogLevel::warning, reason.view());
    CrashText text{CrashText::log_nothing};
    if (Control::CrashMessage::get(value)) {
        read_text(vcpu, reported[3], reported[4], text);
        // The log takes so many lines at a time: those from the panic on say more than those before it.
        CrashText logged{text.panic_line()};
        read_text(vcpu, reported[3], reported[4], logged);
    }
    const std::string_view quote{text.quote().empty() ? reason.view() : text.quote()};
    return ext::check(
        ext::host().domain_shutdown(vcpu.domain(), abi::ShutdownReason::crash, quote.data(), quote.size()));
}

}  // namespace hv::viridian

// SPDX-License-Identifier: MIT
//
// hv::ByteReader for the parsers of kernels: what does not lie inside the file ends the parse with a sentence
// that names the field.
#pragma once

#include <algorithm>
#include <span>
#include <string>

#include "base/failure.hpp"
#include "hv/base/bytes.hpp"

namespace hv::xl {

[[noreturn]] inline void refuse_kernel(const std::string& why)
{
    throw Failure{ExitCode::failed, why};
}

class ForeignBytes {
public:
    /// `format` starts every sentence.
    ForeignBytes(std::span<const std::byte> bytes, const char* format)
        : bytes_{bytes}, reader_{bytes}, format_{format}
    {
    }

    [[nodiscard]] std::uint64_t size() const { return bytes_.size(); }

    [[nodiscard]] bool starts_with(std::span<const std::byte> magic) const
    {
        return bytes_.size() >= magic.size() && std::equal(magic.begin(), magic.end(), bytes_.begin());
    }

    template <typename T>
    [[nodiscard]] T read(std::uint64_t offset, const char* what) const
    {
        const auto value = reader_.read<T>(offset);
        if (!value)
            cut_off(what);
        return value.value();
    }

    [[nodiscard]] std::span<const std::byte> slice(std::uint64_t offset, std::uint64_t length,
                                                   const char* what) const
    {
        const auto part = reader_.slice(offset, length);
        if (!part)
            cut_off(what);
        return part.value();
    }

private:
    [[noreturn]] void cut_off(const char* what) const
    {
        refuse_kernel(std::string{format_} + ": " + what + " lies outside the file of " +
                      std::to_string(size()) + " bytes");
    }

    std::span<const std::byte> bytes_;
    ByteReader reader_;
    const char* format_;
};

}  // namespace hv::xl

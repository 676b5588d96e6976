// SPDX-License-Identifier: MIT
//
// Writes small newc archives for tests.
#pragma once

#include <cstdio>
#include <cstring>
#include <string>

namespace hv::test {

class NewcBuilder {
public:
    NewcBuilder& add(const std::string& name, const std::string& data) { return member(name, data, 0100644); }
    NewcBuilder& folder(const std::string& name) { return member(name, "", 0040755); }
    [[nodiscard]] std::string finish()
    {
        member("TRAILER!!!", "", 0);
        return archive_;
    }

private:
    NewcBuilder& member(const std::string& name, const std::string& data, unsigned mode)
    {
        char header[111];
        std::snprintf(header, sizeof header, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 0,
                      mode, 0, 0, 1, 0, static_cast<unsigned>(data.size()), 0, 0, 0, 0,
                      static_cast<unsigned>(name.size() + 1), 0);
        archive_ += header;
        archive_ += name;
        archive_ += '\0';
        pad();
        archive_ += data;
        pad();
        return *this;
    }
    void pad() { archive_.resize((archive_.size() + 3) / 4 * 4); }

    std::string archive_;
};

}  // namespace hv::test

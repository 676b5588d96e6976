// SPDX-License-Identifier: MIT
//
// The nested page table against a model that holds one entry per 4 KiB page: random operations, also with too
// little memory, and after each one both agree, on what was refused as well.
#include <gtest/gtest.h>
#include <map>
#include <random>

#include "hv/core/memory/nested_map.hpp"
#include "identity_memory.hpp"

using namespace hv;
using namespace hv::core;
using namespace hv::test;

namespace {

struct Page {
    std::uint64_t host;
    NestedAccess access;
};

/// Guest pages by number, as a map should have them.
class Model {
public:
    bool any(std::uint64_t first, std::uint64_t count) const
    {
        const auto found = pages_.lower_bound(first);
        return found != pages_.end() && found->first < first + count;
    }
    bool all(std::uint64_t first, std::uint64_t count) const
    {
        return static_cast<std::uint64_t>(
                   std::distance(pages_.lower_bound(first), pages_.lower_bound(first + count))) == count;
    }
    void set(std::uint64_t first, std::uint64_t count, std::uint64_t host, NestedAccess access)
    {
        for (std::uint64_t page = 0; page < count; ++page)
            pages_[first + page] = {host + page * page_size, access};
    }
    void remove(std::uint64_t first, std::uint64_t count)
    {
        pages_.erase(pages_.lower_bound(first), pages_.lower_bound(first + count));
    }
    void protect(std::uint64_t first, std::uint64_t count, NestedAccess access)
    {
        for (std::uint64_t page = first; page < first + count; ++page)
            pages_[page].access = access;
    }
    void expect_same(const NestedMap& map, std::uint64_t first, std::uint64_t count) const
    {
        for (std::uint64_t page = first; page < first + count; ++page) {
            const auto found = map.lookup(GuestPhysical{page * page_size + 0x123});
            const auto expected = pages_.find(page);
            ASSERT_EQ(found.has_value(), expected != pages_.end()) << "page " << page;
            if (found) {
                ASSERT_EQ(found->host.raw(), expected->second.host + 0x123) << "page " << page;
                ASSERT_EQ(found->access, expected->second.access) << "page " << page;
            }
        }
    }

private:
    std::map<std::uint64_t, Page> pages_;
};

}  // namespace

class NestedMapRandom : public testing::TestWithParam<std::uint64_t> {};
INSTANTIATE_TEST_SUITE_P(MemoryLimits, NestedMapRandom, testing::Values(200, 7, 6));

TEST_P(NestedMapRandom, AgreesWithAModelPageByPage)
{
    constexpr std::uint64_t area{4 *
                                 512};  // pages that the operations are about: 8 MiB across a GiB boundary
    constexpr std::uint64_t base{(1ull << 18) - area / 2};
    std::mt19937_64 random{20'26'11};
    IdentityMemory memory{256};
    memory.ledger.set_limit(GetParam());
    NestedMap map{memory.frames, memory.ledger, amd_format, true};
    ASSERT_TRUE(map.create().has_value());
    Model model;
    unsigned refused{0};

    for (unsigned step = 0; step < 700; ++step) {
        const bool whole = random() % 2 == 0;  // 2 MiB pieces, else any
        const std::uint64_t unit = whole ? 512 : 1;
        const std::uint64_t first = base + random() % (area / unit) * unit;
        const std::uint64_t room = base + area - first;
        const std::uint64_t count = 1 + random() % (room / unit) * unit + (whole ? 511 : 0);
        const std::uint64_t host =
            random() % 2 == 0 ? first * page_size : random() % (1ull << 20) * page_size;
        const NestedAccess access{random() % 2 == 0, random() % 2 == 0};
        const GuestPhysical guest{first * page_size};
        const std::uint64_t bytes = std::min(count, room) * page_size;
        const std::uint64_t pages = bytes / page_size;
        Status done{Done{}};
        switch (random() % 4) {
        case 0:
            done = map.map(guest, HostPhysical{host}, bytes, access);
            if (model.any(first, pages)) {
                ASSERT_FALSE(done.has_value());
            } else if (done) {
                model.set(first, pages, host, access);
            }
            break;
        case 1:
            done = map.replace(guest, HostPhysical{host}, bytes, access);
            if (done)
                model.set(first, pages, host, access);
            break;
        case 2:
            done = map.unmap(guest, bytes);
            if (done)
                model.remove(first, pages);
            break;
        default:
            done = map.protect(guest, bytes, access);
            if (!model.all(first, pages)) {
                ASSERT_FALSE(done.has_value());
            } else if (done) {
                model.protect(first, pages, access);
            }
            break;
        }
        if (!done && (done.error() == Error::limit_reached || done.error() == Error::no_memory))
            ++refused;
        ASSERT_NO_FATAL_FAILURE(model.expect_same(map, base, area)) << "step " << step;
        ASSERT_EQ(map.table_frames(), memory.ledger.frames());
    }
    EXPECT_EQ(refused != 0, GetParam() < 8);  // all tables of the area are eight
    memory.ledger.set_limit(Ledger::unlimited);
}

// SPDX-License-Identifier: MIT
//
// The state that every published version of our extensions wrote (tests/unit/ext/published) is read by today's: each file is
// imported into a fresh instance, and a guest finds there what it had left.  A damaged or newer one is refused by name.
#include <array>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <sstream>

#include "extension_fixture.hpp"
#include "transfer.hpp"

namespace hv::test {
namespace {

using Bytes = std::vector<std::byte>;

// --- the files: a record a line, `type version flags vcpu` and the data in hexadecimal ---

Bytes read_published(const std::filesystem::path& path)
{
    Bytes room(64 * 1024);
    StateWriter writer{room};
    std::ifstream file{path};
    for (std::string line; std::getline(file, line);) {
        if (line.empty() || line[0] == '#')
            continue;
        std::istringstream words{line};
        abi::StateRecordHeader header{};
        std::string data;
        words >> std::hex >> header.type >> header.version >> header.flags >> header.vcpu >> data;
        Bytes bytes;
        for (std::size_t at = 0; at + 2 <= data.size(); at += 2)
            bytes.push_back(static_cast<std::byte>(std::stoul(data.substr(at, 2), nullptr, 16)));
        EXPECT_TRUE(writer.record(header, bytes)) << line;
    }
    room.resize(writer.written().size());
    return room;
}

void write_published(const std::filesystem::path& path, std::span<const std::byte> records)
{
    std::ofstream file{path};
    for (StateReader reader{records}; !reader.at_end();) {
        const StateRecord record = reader.next().value();
        file << std::hex << record.header.type << ' ' << record.header.version << ' ' << record.header.flags << ' '
             << record.header.vcpu << ' ';
        for (const std::byte byte : record.data)
            file << "0123456789abcdef"[static_cast<unsigned>(byte) >> 4]
                 << "0123456789abcdef"[static_cast<unsigned>(byte) & 0xf];
        file << '\n';
    }
}

struct Msr {
    std::uint32_t number;
    std::uint64_t value;
    const char* since{""};  ///< the version whose file has it first
};

/// Types, versions and lengths; the data have handles, which are another domain's.
std::vector<std::array<std::uint32_t, 3>> layout(std::span<const std::byte> records)
{
    std::vector<std::array<std::uint32_t, 3>> all;
    for (StateReader reader{records}; !reader.at_end();) {
        const abi::StateRecordHeader header = reader.next().value().header;
        all.push_back({header.type, header.version, header.length});
    }
    return all;
}

/// What a guest did before its extension's state was written, and must find again.
struct Published {
    const char* module;
    std::vector<Msr> msrs;
};

const std::vector<Published>& published()
{
    static const std::vector<Published> all{
        {"viridian",
         {{0x4000'0000, 0x8100'0006'0192'0000},
          {0x4000'0001, 0x5001},
          {0x4000'0021, 0x6001},
          {0x4000'0073, 0x7001},
          {0x4000'0100, 0x1111},
          {0x4000'0104, 0x5555},
          {0x4000'0080, 1, "1.1.0"},
          {0x4000'0082, 0x8001, "1.1.0"},
          {0x4000'0083, 0x9001, "1.1.0"},
          {0x4000'0092, 0x2'00f3, "1.1.0"},
          {0x4000'00b6, 0x1ed9, "1.1.0"},
          {0x4000'00b7, 1ull << 40, "1.1.0"}}},
        {"novell", {{0x4000'0400, 0x8100'0000'0001'0000}, {0x4000'0401, 0x5001}}},
        {"xen-pv", {}},
    };
    return all;
}

class PublishedState : public ExtensionTest, public ::testing::WithParamInterface<std::size_t> {
protected:
    PublishedState() : what_{published()[GetParam()]}
    {
        EXPECT_TRUE(bind(what_.module)) << why.view();
        start();
        for (const Msr& msr : what_.msrs)
            EXPECT_EQ(domain->extensions->write_msr(domain->vcpu(0), msr.number, msr.value), Answered::done)
                << std::hex << msr.number;
        if (std::string_view{what_.module} == "xen-pv")
            set_xen_callback();
    }
    Binding& binding() { return *domain->extensions->implementation().bindings[0]; }

    /// hvm_op's HVMOP_set_param of HVM_PARAM_CALLBACK_IRQ: vector 0xf3 [Xen 4.17 public/hvm/params.h].
    void set_xen_callback()
    {
        struct {
            std::uint16_t domain{0x7ff0};
            std::uint16_t padding{};
            std::uint32_t index{};
            std::uint64_t value{0x0200'0000'0000'00f3};
        } parameter;
        EXPECT_TRUE(domain->memory.guest().write_value(GuestPhysical{0x9000}, parameter));
        Vcpu& vcpu = domain->vcpu(0);
        ExecutionContext context{};
        context.cr0 = 1;
        context.code_attributes = 0xc9b;
        vcpu.registers.general[0] = 34;
        vcpu.registers.general[3] = 0;
        vcpu.registers.general[1] = 0x9000;
        EXPECT_EQ(domain->extensions->hypercall(vcpu, context, 3), Answered::done);
        EXPECT_EQ(vcpu.registers.general[0], 0u);
    }

    std::vector<std::filesystem::path> files() const
    {
        std::vector<std::filesystem::path> found;
        for (const auto& entry : std::filesystem::directory_iterator{PUBLISHED_STATE})
            if (entry.path().filename().string().starts_with(std::string{what_.module} + "-"))
                found.push_back(entry.path());
        std::sort(found.begin(), found.end());
        return found;
    }
    Bytes exported(Binding& of)
    {
        Bytes room(64 * 1024);
        StateWriter writer{room};
        EXPECT_TRUE(export_state(of, writer, Continuations::leave_out, why)) << why.view();
        room.resize(writer.written().size());
        return room;
    }
    Status import(const Bytes& records, const std::function<void(Binding&)>& look = {})
    {
        why.clear();
        auto fresh = make<Binding>(domain->heap, *domain, binding().module, binding().holdings, binding().options);
        EXPECT_TRUE(fresh);
        EXPECT_TRUE(fresh.value()->create_beside(binding(), why)) << why.view();
        const Status imported = import_state(*fresh.value(), records, why);
        if (imported && look)
            look(*fresh.value());
        return imported;
    }
    /// What the instance has stands where the guest reaches it.
    void put_in_place(Binding& fresh)
    {
        const auto copy = [](const StateCopies& from, StateCopies& to) {
            std::copy_n(from.kept, from.words, to.kept);
            to.take_back();
        };
        copy(fresh.state, binding().state);
        for (unsigned index = 0; index < fresh.vcpu_count; ++index)
            copy(fresh.vcpus[index]->state, binding().vcpus[index]->state);
    }
    void refused(const Bytes& records, Error error, std::string_view with)
    {
        const Status status = import(records);
        ASSERT_FALSE(status);
        EXPECT_EQ(status.error(), error) << why.view();
        EXPECT_NE(why.view().find(std::string{"extension '"} + what_.module + "'"), std::string_view::npos) << why.view();
        EXPECT_NE(why.view().find(with), std::string_view::npos) << why.view();
    }

    const Published& what_;
};

/// GRAFT_WRITE_STATE=FOLDER publishes today's.
TEST_P(PublishedState, todays_layout_is_published)
{
    const Bytes now = exported(binding());
    const abi::Manifest& manifest = binding().module.manifest();
    std::ostringstream name;
    name << what_.module << '-' << manifest.version_major << '.' << manifest.version_minor << '.'
         << manifest.version_patch << ".state";
    if (const char* const folder = std::getenv("GRAFT_WRITE_STATE"); folder != nullptr)
        write_published(std::filesystem::path{folder} / name.str(), now);
    ASSERT_FALSE(files().empty()) << "publish " << name.str();
    const auto same = [&](const std::filesystem::path& path) { return layout(read_published(path)) == layout(now); };
    const auto all = files();
    EXPECT_TRUE(std::any_of(all.begin(), all.end(), same)) << "the state's layout is new: publish " << name.str();
}

TEST_P(PublishedState, is_imported_and_the_guest_finds_what_it_left)
{
    for (const std::filesystem::path& path : files()) {
        SCOPED_TRACE(path.filename().string());
        const Bytes records = read_published(path);
        ASSERT_FALSE(records.empty());
        binding().state.clear();  // it must come from the file
        for (unsigned index = 0; index < binding().vcpu_count; ++index)
            binding().vcpus[index]->state.clear();
        const Status imported = import(records, [&](Binding& fresh) { put_in_place(fresh); });
        ASSERT_TRUE(imported) << why.view();
        for (const Msr& msr : what_.msrs) {
            if (path.filename().string() < std::string{what_.module} + "-" + msr.since)
                continue;
            std::uint64_t value{};
            EXPECT_EQ(domain->extensions->read_msr(domain->vcpu(0), msr.number, value), Answered::done);
            EXPECT_EQ(value, msr.value) << std::hex << msr.number;
        }
        if (layout(exported(binding())) == layout(records)) {
            EXPECT_EQ(exported(binding()), records);
        }
    }
}

TEST_P(PublishedState, truncated_at_any_byte_is_refused_by_name)
{
    const Bytes records = read_published(files().back());
    for (std::size_t length = 0; length < records.size(); ++length) {
        SCOPED_TRACE(length);
        refused({records.begin(), records.begin() + static_cast<std::ptrdiff_t>(length)}, Error::malformed, "state");
    }
}

TEST_P(PublishedState, of_a_newer_version_is_refused_by_name)
{
    Bytes records = read_published(files().back());
    records[offsetof(abi::StateRecordHeader, version)] ^= std::byte{0x80};
    refused(records, Error::abi_mismatch, "cannot read the state");
}

TEST_P(PublishedState, with_a_record_that_is_unknown_is_refused_unless_it_is_optional)
{
    for (const std::uint16_t flags : {std::uint16_t{0}, abi::record_optional}) {
        Bytes records = read_published(files().back());
        const std::size_t before = records.size();
        records.resize(before + 64);
        StateWriter writer{std::span{records}.subspan(before)};
        ASSERT_TRUE(writer.record({0x1234, 1, flags, 0, abi::record_of_domain}, Bytes(16)));
        records.resize(before + writer.written().size());
        if (flags == 0)
            refused(records, Error::abi_mismatch, "0x1234");
        else
            EXPECT_TRUE(import(records)) << why.view();
    }
}

TEST_P(PublishedState, with_a_block_twice_is_refused_by_name)
{
    Bytes records = read_published(files().back());
    StateReader reader{records};
    ASSERT_TRUE(reader.next());
    const auto first = static_cast<std::ptrdiff_t>(records.size() - reader.left());
    records.insert(records.begin(), records.begin(), records.begin() + first);
    refused(Bytes{records}, Error::malformed, "two blocks");
}

TEST_P(PublishedState, may_have_an_empty_block_where_the_instance_has_none)
{
    if (binding().vcpus[1]->state.words != 0)
        GTEST_SKIP() << "it has one";
    Bytes records = read_published(files().back());
    const std::size_t before = records.size();
    records.resize(before + 64);
    StateWriter writer{std::span{records}.subspan(before)};
    const auto version = static_cast<std::uint16_t>(binding().module.manifest().vcpu_state.version);
    ASSERT_TRUE(writer.record({abi::record_vcpu_block, version, 0, 0, 1}, {}));
    records.resize(before + writer.written().size());
    EXPECT_TRUE(import(records)) << why.view();
}

INSTANTIATE_TEST_SUITE_P(, PublishedState, ::testing::Values(0, 1, 2),
                         [](const auto& information) {
                             std::string name{published()[information.param].module};
                             std::erase(name, '-');
                             return name;
                         });

}  // namespace
}  // namespace hv::test

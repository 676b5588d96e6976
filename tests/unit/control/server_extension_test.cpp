// SPDX-License-Identifier: MIT
//
// Commands about extension modules: uploads in pieces, binding with parameters, listing.
#include "client.hpp"

namespace {

using namespace hv::protocol;
using hv::Error;
using hv::test::Bytes;
using hv::test::bytes_of;

struct ServerExtensions : hv::test::ServerTest {
    void SetUp() override { ASSERT_TRUE(client.hello().ok()); }

    std::uint32_t begin(std::uint64_t size)
    {
        ExtLoadBeginRequest request{};
        request.size = size;
        const auto answer = client.ask(Command::ext_load_begin, request);
        EXPECT_TRUE(answer.ok()) << answer.text();
        return answer.ok() ? answer.fixed<ExtLoadBeginReply>().upload : 0;
    }
    auto data(std::uint32_t upload, std::uint64_t offset, const Bytes& bytes)
    {
        return client.ask(Command::ext_load_data, ExtLoadDataRequest{upload, 0, offset}, {}, bytes);
    }
    auto finish(std::uint32_t upload)
    {
        return client.ask(Command::ext_load_finish, ExtLoadEndRequest{upload, 0});
    }

    Bytes parameters(std::initializer_list<Parameter> list)
    {
        Bytes buffer(8192);
        FrameBuilder builder{buffer};
        builder.request(Command::ext_bind, 1);
        for (const Parameter& parameter : list)
            EXPECT_TRUE(encode_parameter(builder, parameter).has_value());
        const auto frame = builder.finish();
        return {frame.value().begin() + sizeof(FrameHeader), frame.value().end()};
    }
    auto bind(DomainId domain, std::uint32_t count, const Bytes& tail, const char* module = "m")
    {
        ExtBindRequest request{domain, count, 0, 0, {}};
        EXPECT_TRUE(set_text(request.module, module).has_value());
        return client.ask(Command::ext_bind, request, tail);
    }
};

TEST_F(ServerExtensions, AReportComesWithItsEntriesAsBulk)
{
    ExtReportRequest request{1, 0, {}};
    EXPECT_EQ(client.ask(Command::ext_report, request).error(), Error::not_found);  // no such domain
    request.domain = client.create();
    EXPECT_TRUE(set_text(request.module, "m").has_value());
    const auto answer = client.ask(Command::ext_report, request);
    ASSERT_TRUE(answer.ok()) << answer.text();
    const auto reply = answer.fixed<ExtReportReply>();
    EXPECT_EQ(reply.number, 5u);
    EXPECT_EQ(text_of(reply.module), "m");
    ASSERT_EQ(answer.bulk.size(), reply.frame_count * reply.frame_size);
    request.skip = 1;
    EXPECT_EQ(client.ask(Command::ext_report, request).error(), Error::not_found);
    std::fill(std::begin(request.module), std::end(request.module), 'm');
    EXPECT_EQ(client.ask(Command::ext_report, request).error(), Error::malformed);
}

TEST_F(ServerExtensions, TheMemoryOfAFailedInstanceComesInPieces)
{
    ExtCoreRequest request{1, 0, 0};
    EXPECT_EQ(client.ask(Command::ext_core, request).error(), Error::not_found);  // no such domain
    request.domain = client.create();
    std::size_t bytes{};
    for (unsigned pieces = 0; pieces < 3 && bytes < 100'000; ++pieces) {
        request.offset = bytes;
        const auto answer = client.ask(Command::ext_core, request);
        ASSERT_TRUE(answer.ok()) << answer.text();
        EXPECT_EQ(answer.fixed<ExtCoreReply>().bytes, 100'000u);
        EXPECT_LE(answer.bulk.size(), std::size_t{maximum_reply_bulk});
        bytes += answer.bulk.size();
    }
    EXPECT_EQ(bytes, 100'000u);
    request.offset = ~0ull;
    EXPECT_TRUE(client.ask(Command::ext_core, request).bulk.empty());
    request.segment = 1;
    EXPECT_EQ(client.ask(Command::ext_core, request).error(), Error::not_found);
}

TEST_F(ServerExtensions, ModuleIsLoadedInPieces)
{
    target.slices = 3;
    const auto upload = begin(200'001);
    ASSERT_TRUE(data(upload, 0, Bytes(100'000, std::byte{'M'})).ok());
    ASSERT_TRUE(data(upload, 100'000, Bytes(100'001, std::byte{'N'})).ok());
    const auto answer = finish(upload);
    ASSERT_TRUE(answer.ok()) << answer.text();
    EXPECT_EQ(text_of(answer.fixed<ModuleInfo>().name), "module1");
    EXPECT_EQ(target.modules.at("module1").size(), 200'001u);
    EXPECT_TRUE(target.uploads.empty());
    EXPECT_EQ(client.ask(Command::ext_list, ExtListRequest{0}).entries<ModuleInfo>().size(), 1u);
    EXPECT_EQ(finish(upload).error(), Error::not_found) << "the upload is over";
}

TEST_F(ServerExtensions, LoadersSentenceReachesTheClientWordForWord)
{
    const auto upload = begin(3);
    ASSERT_TRUE(data(upload, 0, bytes_of("ELF")).ok());
    const auto answer = finish(upload);
    EXPECT_EQ(answer.error(), Error::malformed);
    EXPECT_EQ(answer.text(), "offset 0: this is no module");
    EXPECT_TRUE(target.modules.empty());
    EXPECT_TRUE(target.uploads.empty());
}

TEST_F(ServerExtensions, PiecesOutOfOrderOrTooManyAreRefused)
{
    const auto upload = begin(10);
    EXPECT_EQ(data(upload, 1, Bytes(1)).field(), "/offset");
    EXPECT_EQ(data(upload, 0, Bytes(11)).error(), Error::out_of_range);
    ASSERT_TRUE(data(upload, 0, Bytes(9, std::byte{'M'})).ok());
    EXPECT_EQ(data(upload, 0, Bytes(1)).field(), "/offset");
    EXPECT_EQ(data(upload, 9, Bytes(2)).error(), Error::out_of_range);
    EXPECT_EQ(data(99, 0, Bytes(2)).field(), "/upload");
    EXPECT_EQ(target.uploads.at(upload).size(), 9u);
    ASSERT_TRUE(data(upload, 9, Bytes(1)).ok());
    EXPECT_TRUE(finish(upload).ok());
}

TEST_F(ServerExtensions, FileThatIsNotWholeIsNotLoaded)
{
    const auto upload = begin(10);
    ASSERT_TRUE(data(upload, 0, Bytes(4)).ok());
    const auto answer = finish(upload);
    EXPECT_EQ(answer.error(), Error::invalid_argument);
    EXPECT_EQ(answer.text(), "the file is not whole: 6 bytes are missing");
    EXPECT_TRUE(target.uploads.empty());
}

TEST_F(ServerExtensions, UploadsAreLimitedInNumberAndSize)
{
    for (std::size_t i = 0; i < hv::core::control::ControlServer::maximum_uploads; ++i)
        begin(10);
    ExtLoadBeginRequest request{};
    request.size = 10;
    EXPECT_EQ(client.ask(Command::ext_load_begin, request).error(), Error::limit_reached);
    for (const std::uint64_t size :
         {std::uint64_t{0}, std::uint64_t{16 * 1024 * 1024 + 1}, ~std::uint64_t{0}}) {
        request.size = size;
        EXPECT_EQ(client.ask(Command::ext_load_begin, request).field(), "/size");
    }
    EXPECT_TRUE(client.ask(Command::ext_load_abort, ExtLoadEndRequest{1, 0}).ok());
    EXPECT_EQ(client.ask(Command::ext_load_abort, ExtLoadEndRequest{1, 0}).field(), "/upload");
    EXPECT_EQ(target.uploads.size(), 3u);
    begin(10);
}

TEST_F(ServerExtensions, PathThatDoesNotEndIsRefused)
{
    ExtLoadBeginRequest request{};
    request.size = 10;
    request.path[255] = 'x';
    EXPECT_EQ(client.ask(Command::ext_load_begin, request).field(), "/path");
}

TEST_F(ServerExtensions, SignatureComesWithTheFileAndIsWholeOrNotThere)
{
    ExtLoadBeginRequest request{};
    request.size = 10;
    for (const std::uint32_t length : {1u, 63u, 65u, ~0u}) {
        request.signature_length = length;
        EXPECT_EQ(client.ask(Command::ext_load_begin, request).field(), "/signature_length") << length;
    }
    request.signature_length = 64;
    request.signature[63] = 0x5a;
    ASSERT_TRUE(client.ask(Command::ext_load_begin, request).ok());
    EXPECT_EQ(target.last_upload.signature_length, 64u);
    EXPECT_EQ(target.last_upload.signature[63], 0x5a);
}

// A client of the time before signatures sends a shorter structure, and has a module without one.
TEST_F(ServerExtensions, OlderClientsSendNoSignature)
{
    ExtLoadBeginRequest request{};
    request.size = 10;
    request.signature_length = 64;
    Bytes bytes{client.frame(Command::ext_load_begin, request)};
    FrameHeader header{decode_header(bytes).value()};
    header.fixed_length = required_size<ExtLoadBeginRequest>;
    std::memcpy(bytes.data(), &header, sizeof header);
    client.send(bytes);
    ASSERT_TRUE(client.reply().ok());
    EXPECT_EQ(target.last_upload.signature_length, 0u);
}

TEST_F(ServerExtensions, WhatAModuleAsksForIsListedByCursor)
{
    const auto upload = begin(1);
    ASSERT_TRUE(data(upload, 0, {std::byte{'M'}}).ok());
    ASSERT_TRUE(finish(upload).ok());
    ExtRequestsRequest request{};
    ASSERT_TRUE(set_text(request.module, "module1").has_value());
    const auto all = client.ask(Command::ext_requests, request).entries<ModuleRequest>();
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(all[2].first, 0x4000'0002u);
    request.cursor = 2;
    EXPECT_EQ(client.ask(Command::ext_requests, request).entries<ModuleRequest>().size(), 1u);
    ASSERT_TRUE(set_text(request.module, "nosuch").has_value());
    EXPECT_EQ(client.ask(Command::ext_requests, request).field(), "/module");
}

TEST_F(ServerExtensions, TheWholeStackIsAnnounced)
{
    target.modules["m"] = {};
    target.modules["n"] = {};
    const DomainId domain{client.create()};
    const auto announce = [&](std::uint32_t count, std::initializer_list<const char*> names) {
        Bytes tail;
        for (const char* const name : names) {
            ModuleName entry{};
            EXPECT_TRUE(set_text(entry.name, name).has_value());
            const auto bytes = std::as_bytes(std::span{&entry, 1});
            tail.insert(tail.end(), bytes.begin(), bytes.end());
        }
        return client.ask(Command::ext_announce, ExtAnnounceRequest{domain, count, sizeof(ModuleName), 0}, tail);
    };
    EXPECT_EQ(announce(3, {"n", "m"}).field(), "/modules");
    EXPECT_EQ(announce(2, {"n", ""}).field(), "/modules/1");
    EXPECT_EQ(announce(2, {"n", "none"}).field(), "/modules/1");
    EXPECT_TRUE(target.domains[domain].announced.empty());
    ASSERT_TRUE(announce(2, {"n", "m"}).ok());
    EXPECT_EQ(target.domains[domain].announced, (std::vector<std::string>{"n", "m"}));
}

TEST_F(ServerExtensions, BindHandsTheParametersOn)
{
    target.modules["m"] = {};
    target.slices = 2;
    const DomainId domain{client.create()};
    const auto tail =
        parameters({{"fast", ParameterType::boolean, 1, {}}, {"mode", ParameterType::text, 0, "x"}});
    const auto first = bind(domain, 2, tail);
    ASSERT_TRUE(first.ok()) << first.text();
    EXPECT_EQ(first.fixed<ExtBindReply>().position, 0u);
    EXPECT_EQ(target.domains[domain].parameters, "fast=1;mode=x0;");
    EXPECT_EQ(bind(domain, 0, {}).fixed<ExtBindReply>().position, 1u);
    ExtSettledRequest settled{domain, 0, 0};
    const auto parameters = client.ask(Command::ext_settled, settled).entries<SettledParameter>();
    ASSERT_EQ(parameters.size(), 2u);
    EXPECT_EQ(parameters[1].position, 1u);
    EXPECT_EQ(text_of(parameters[1].key), "words");
    settled.cursor = 1;
    EXPECT_EQ(client.ask(Command::ext_settled, settled).entries<SettledParameter>().size(), 1u);
    settled.domain = domain + 1;
    EXPECT_FALSE(client.ask(Command::ext_settled, settled).ok());
    const auto bindings = client.ask(Command::ext_bindings, DomainRequest{domain, 0}).entries<Binding>();
    ASSERT_EQ(bindings.size(), 2u);
    EXPECT_EQ(bindings[1].position, 1u);
}

TEST_F(ServerExtensions, DetachTakesOneAwayAndSaysWhichIsNotThere)
{
    target.modules["m"] = {};
    const DomainId domain{client.create()};
    ASSERT_TRUE(bind(domain, 0, {}).ok());
    ExtOfDomainRequest request{domain, 0, {}};
    EXPECT_EQ(client.ask(Command::ext_detach, request).field(), "/module");  // no name
    ASSERT_TRUE(set_text(request.module, "n").has_value());
    EXPECT_EQ(client.ask(Command::ext_detach, request).error(), Error::not_found);
    ASSERT_TRUE(set_text(request.module, "m").has_value());
    EXPECT_TRUE(client.ask(Command::ext_detach, request).ok());
    EXPECT_TRUE(target.domains[domain].modules.empty());
    EXPECT_EQ(client.ask(Command::ext_detach, request).error(), Error::not_found);
}

TEST_F(ServerExtensions, BindHandsListsOn)
{
    target.modules["m"] = {};
    const DomainId domain{client.create()};
    const auto tail = parameters({{"empty", ParameterType::empty_list, 0, {}},
                                  {"words", ParameterType::text, 0, "x"},
                                  {"words", ParameterType::text, 0, "y"},
                                  {"fast", ParameterType::boolean, 1, {}}});
    const auto answer = bind(domain, 4, tail);
    ASSERT_TRUE(answer.ok()) << answer.text();
    EXPECT_EQ(target.domains[domain].parameters, "empty=0;words=x0;words=y0;fast=1;");
}

TEST_F(ServerExtensions, BadParametersAreRefusedAndNothingIsBound)
{
    target.modules["m"] = {};
    const DomainId domain{client.create()};
    const auto one = parameters({{"a", ParameterType::integer, 5, {}}});
    const Parameter five{"a", ParameterType::integer, 5, {}};
    const Parameter nothing{"a", ParameterType::empty_list, 0, {}};
    const auto twice = parameters({five, {"b", ParameterType::boolean, 1, {}}, five});
    const auto empty_and_more = parameters({nothing, five});
    const auto more_and_empty = parameters({five, nothing});
    EXPECT_EQ(bind(domain, 2, one).field(), "/params");
    EXPECT_EQ(bind(domain, 0, one).field(), "/params");
    EXPECT_EQ(bind(domain, 65, one).field(), "/params");
    EXPECT_EQ(bind(domain, 3, twice).text(), "the parameter a is there twice");
    EXPECT_EQ(bind(domain, 2, empty_and_more).text(), "the parameter a is there twice");
    EXPECT_EQ(bind(domain, 2, more_and_empty).text(), "the parameter a is there twice");
    EXPECT_EQ(bind(domain, 0, {}, "").field(), "/name");
    EXPECT_EQ(bind(domain, 0, {}, "none").text(), "no module none is loaded");
    EXPECT_TRUE(target.domains[domain].modules.empty());
}

TEST_F(ServerExtensions, UnloadTakesAModuleAway)
{
    target.modules["m"] = {};
    ExtUnloadRequest request{"m"};
    EXPECT_TRUE(client.ask(Command::ext_unload, request).ok());
    EXPECT_TRUE(target.modules.empty());
    EXPECT_EQ(client.ask(Command::ext_unload, request).error(), Error::not_found);
}

}  // namespace

// SPDX-License-Identifier: MIT
//
// Keys, signatures and ext-verify, with xl as a process, a real module and no hypervisor.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/json.hpp"

namespace hv::xl {
namespace {

struct Outcome {
    int status{};
    std::string out;
    std::string err;
};

class Signing : public testing::Test {
protected:
    Signing()
    {
        std::filesystem::create_directory(folder);
        std::filesystem::copy_file(HV_MODULE, module);
    }
    ~Signing() override { std::filesystem::remove_all(folder); }

    [[nodiscard]] std::string text_of(const std::filesystem::path& path) const
    {
        std::ifstream file{path, std::ios::binary};
        std::ostringstream text;
        text << file.rdbuf();
        return text.str();
    }
    Outcome xl(const std::string& words) const
    {
        const std::string command{"cd " + folder.string() + " && " + HV_XL_PROGRAM + " " + words + " >out 2>err"};
        const int status{std::system(command.c_str())};
        return {WIFEXITED(status) ? WEXITSTATUS(status) : 128, text_of(folder / "out"), text_of(folder / "err")};
    }
    void change_byte(const std::filesystem::path& path, std::streamoff at) const
    {
        std::fstream file{path, std::ios::binary | std::ios::in | std::ios::out};
        file.seekg(at);
        const char byte{static_cast<char>(file.get() ^ 1)};
        file.seekp(at);
        file.put(byte);
    }

    const std::filesystem::path folder{std::filesystem::temp_directory_path() /
                                       ("xl_signing." + std::to_string(::getpid()))};
    const std::filesystem::path module{folder / "some.hvx"};
};

TEST_F(Signing, KeysAreMadeOnceAndTheSecretOneIsTheOwnersAlone)
{
    ASSERT_EQ(xl("ext-keygen vendor").status, 0);
    struct stat secret{};
    ASSERT_EQ(::stat((folder / "vendor.key").c_str(), &secret), 0);
    EXPECT_EQ(secret.st_mode & 0777u, 0600u);
    EXPECT_EQ(secret.st_size, 32);
    EXPECT_EQ(std::filesystem::file_size(folder / "vendor.pub"), 32u);
    const std::string before{text_of(folder / "vendor.key")};
    EXPECT_EQ(xl("ext-keygen vendor").status, 1);
    std::filesystem::remove(folder / "vendor.pub");
    EXPECT_EQ(xl("ext-keygen vendor").status, 1);
    EXPECT_EQ(text_of(folder / "vendor.key"), before);
    EXPECT_EQ(xl("ext-keygen nosuch/vendor").status, 1);
    ASSERT_EQ(xl("ext-keygen other").status, 0);
    EXPECT_NE(text_of(folder / "other.key"), before);
}

TEST_F(Signing, VerifyNamesTheSigner)
{
    ASSERT_EQ(xl("ext-keygen vendor").status, 0);
    ASSERT_EQ(xl("ext-keygen other").status, 0);
    EXPECT_NE(xl("ext-verify ./some.hvx").out.find(", not signed"), std::string::npos);
    const Outcome unsigned_one{xl("ext-verify ./some.hvx --key vendor.pub")};
    EXPECT_EQ(unsigned_one.status, 4);
    EXPECT_NE(unsigned_one.err.find("came without a signature"), std::string::npos);

    ASSERT_EQ(xl("ext-sign ./some.hvx --key vendor.key").status, 0);
    EXPECT_EQ(std::filesystem::file_size(folder / "some.hvx.sig"), 64u);
    const Outcome good{xl("ext-verify ./some.hvx --key other.pub --key vendor.pub")};
    EXPECT_EQ(good.status, 0);
    EXPECT_NE(good.out.find(", signed by vendor\n"), std::string::npos) << good.out;
    const Json json = Json::parse(xl("ext-verify ./some.hvx --key vendor.pub -o json").out);
    EXPECT_EQ(json["signature"], "good");
    EXPECT_EQ(json["signer"], "vendor");
    const Json unchecked = Json::parse(xl("ext-verify ./some.hvx -o json").out);
    EXPECT_EQ(unchecked["signature"], "unchecked");
    EXPECT_TRUE(unchecked["signer"].is_null());
    EXPECT_EQ(xl("ext-verify ./some.hvx --key other.pub").status, 4);

    ASSERT_EQ(xl("ext-sign ./some.hvx -k other.key").status, 0);  // takes the place of the first
    EXPECT_EQ(xl("ext-verify ./some.hvx --key vendor.pub").status, 4);
    EXPECT_EQ(xl("ext-verify ./some.hvx --key other.pub").status, 0);
}

TEST_F(Signing, AnyOtherByteIsRefused)
{
    ASSERT_EQ(xl("ext-keygen vendor").status, 0);
    ASSERT_EQ(xl("ext-sign ./some.hvx --key vendor.key").status, 0);
    const std::string verify{"ext-verify ./some.hvx --key vendor.pub"};
    for (const auto& [file, at] : {std::pair{"some.hvx", 0}, {"some.hvx", 5000}, {"some.hvx.sig", 0}, {"some.hvx.sig", 63}}) {
        change_byte(folder / file, at);
        const Outcome changed{xl(verify)};
        EXPECT_EQ(changed.status, 4) << file << " " << at;
        EXPECT_NE(changed.err.find("not made over this file"), std::string::npos) << changed.err;
        change_byte(folder / file, at);
    }
    EXPECT_EQ(xl(verify).status, 0);
    for (const std::size_t size : {63u, 0u}) {
        std::filesystem::resize_file(folder / "some.hvx.sig", size);
        EXPECT_EQ(xl(verify).status, 4) << size;
        EXPECT_EQ(xl("ext-verify ./some.hvx").status, 4) << size;  // also where nobody asked whose it is
    }
}

TEST_F(Signing, WhatIsNoKeyOrNoModuleIsSaidSo)
{
    ASSERT_EQ(xl("ext-keygen vendor").status, 0);
    EXPECT_EQ(xl("ext-sign ./some.hvx").status, 2);
    EXPECT_EQ(xl("ext-sign ./some.hvx --key nosuch.key").status, 3);
    EXPECT_EQ(xl("ext-sign ./nosuch.hvx --key vendor.key").status, 3);
    EXPECT_EQ(xl("ext-sign ./some.hvx --key some.hvx").status, 1);  // too long to be one
    std::ofstream{folder / "short.key"} << "short";
    EXPECT_EQ(xl("ext-sign ./some.hvx --key short.key").status, 2);
    const Outcome no_module{xl("ext-sign ./vendor.pub --key vendor.key")};
    EXPECT_EQ(no_module.status, 1);
    EXPECT_NE(no_module.err.find("less than an ELF header"), std::string::npos) << no_module.err;
    EXPECT_FALSE(std::filesystem::exists(folder / "vendor.pub.sig"));
    std::ofstream{folder / "small.pub", std::ios::binary} << std::string(32, '\0');  // a point of order 4
    EXPECT_EQ(xl("ext-verify ./some.hvx --key small.pub").status, 2);
    EXPECT_FALSE(std::filesystem::exists(folder / "some.hvx.sig"));
}

}  // namespace
}  // namespace hv::xl

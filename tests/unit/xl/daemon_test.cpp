// SPDX-License-Identifier: MIT
//
// The programs end to end: xl as a process, xld as a thread, a fake hypervisor behind the real control
// server.  Each verb is tested by its effect on a domain.
#include "daemon/daemon.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <thread>

#include "commands/commands.hpp"
#include "fake_hypervisor.hpp"
#include "kernel_files.hpp"
#include "output/output.hpp"

namespace hv::xl {
namespace {

using namespace std::chrono_literals;
using test::FakeChannel;
using test::FakeDomain;
using test::FakeHypervisor;

struct Outcome {
    int status{};
    std::string out;
    std::string err;

    [[nodiscard]] Json json() const { return Json::parse(out); }
};

/// A process that runs xl.
class XlProcess {
public:
    XlProcess(const std::filesystem::path& folder, std::vector<std::string> words,
              const std::string& input = {})
        : folder_{folder}
    {
        std::ofstream{folder_ / "stdin", std::ios::binary} << input;
        words.insert(words.begin(), {HV_XL_PROGRAM, "--socket", (folder_ / "sock").string(), "--extensions",
                                     (folder_ / "extensions").string()});
        // All that allocates comes before the fork: another thread may hold the allocator's lock at that moment.
        const std::string in{folder_ / "stdin"}, out{folder_ / "stdout"}, errors{folder_ / "stderr"};
        std::vector<char*> raw;
        for (const std::string& word : words)
            raw.push_back(const_cast<char*>(word.c_str()));
        raw.push_back(nullptr);
        process_ = ::fork();
        if (process_ == 0)
            become(in.c_str(), out.c_str(), errors.c_str(), raw.data());
    }

    void kill() const { ::kill(process_, SIGKILL); }

    Outcome wait()
    {
        int status{};
        ::waitpid(process_, &status, 0);
        return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text_of("stdout"),
                text_of("stderr")};
    }

    [[nodiscard]] std::string text_of(const char* name) const
    {
        std::ifstream file{folder_ / name, std::ios::binary};
        std::ostringstream text;
        text << file.rdbuf();
        return text.str();
    }

private:
    [[noreturn]] static void become(const char* in, const char* out, const char* errors, char* const* words)
    {
        const auto redirect = [](const char* path, int flags, int number) {
            const int file{::open(path, flags, 0600)};
            ::dup2(file, number);
        };
        redirect(in, O_RDONLY, STDIN_FILENO);
        redirect(out, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
        redirect(errors, O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
        ::execv(words[0], words);
        ::_exit(127);
    }

    std::filesystem::path folder_;
    pid_t process_{};
};

class Xld : public testing::Test {
protected:
    void SetUp() override
    {
        std::signal(SIGPIPE, SIG_IGN);  // as xld's own main does: the daemon runs in this process
        std::string name{"/tmp/xld_test.XXXXXX"};
        folder = ::mkdtemp(name.data());
        std::filesystem::create_directory(folder / "extensions");
        std::filesystem::create_directory(folder / "logs");
        write("extensions/novell.hvx", "novell");
        write("extensions/viridian.hvx", "viridian");
        const ByteBuffer kernel{test::elf(true, true)};
        write("kernel", {reinterpret_cast<const char*>(kernel.view().data()), kernel.size()});
        write("disk", std::string(3u << 20, 'd'));
        config = {{"apiVersion", 1}, {"name", "web1"}, {"memory", "16MiB"}, {"boot", {{"kernel", "kernel"}}}};
        if (::pipe2(stop_pipe, O_CLOEXEC) != 0)
            std::abort();
        start_daemon();
    }

    void start_daemon()
    {
        DaemonOptions options;
        options.socket = folder / "sock";
        options.group = "";
        options.paths = {folder / "extensions", folder / "logs", folder / "state"};
        options.open_port = [this](const std::string& port) { return hypervisor.open_port(port); };
        daemon = std::make_unique<Daemon>(options);
        daemon->loop().watch(
            stop_pipe[0], [] { return static_cast<short>(POLLIN); }, [this](short) { daemon->stop(); });
        thread = std::thread{[this] { daemon->run(); }};
        while (xl({"list", "-o", "json"}).status != 0)
            std::this_thread::sleep_for(10ms);
    }

    void stop_daemon()
    {
        char byte{};
        if (::write(stop_pipe[1], &byte, 1) != 1)
            std::abort();
        thread.join();
        daemon.reset();
        if (::read(stop_pipe[0], &byte, 1) != 1)
            std::abort();
    }

    void TearDown() override
    {
        stop_daemon();
        std::filesystem::remove_all(folder);
    }

    [[nodiscard]] std::size_t stored() const
    {
        const std::filesystem::directory_iterator all{folder / "state"};
        return static_cast<std::size_t>(std::distance(begin(all), end(all)));
    }
    protocol::DomainId number_of(const std::string& name)
    {
        return hypervisor.ask<protocol::DomainId>([&] {
            return hypervisor.has(name) ? hypervisor.by_name(name).info.domain : 0;
        });
    }

    void write(const std::string& name, const std::string& text) const
    {
        std::ofstream{folder / name, std::ios::binary} << text;
    }

    XlProcess start(std::vector<std::string> words, const std::string& input = {})
    {
        // Each process has its own files for input and output.
        const auto own = folder / std::to_string(++processes);
        std::filesystem::create_directory(own);
        std::filesystem::create_symlink(folder / "sock", own / "sock");
        std::filesystem::create_symlink(folder / "extensions", own / "extensions");
        return {own, std::move(words), input};
    }
    Outcome xl(std::vector<std::string> words, const std::string& input = {})
    {
        return start(std::move(words), input).wait();
    }
    Outcome create(std::vector<std::string> options = {}, const std::string& input = {})
    {
        write("config.json", config.dump());
        options.insert(options.begin(), {"create", (folder / "config.json").string()});
        return xl(options, input);
    }

    /// Until a condition holds on the hypervisor's side; fails the test after a long time.
    void eventually(const std::function<bool()>& condition)
    {
        for (unsigned i = 0; i < 2000; ++i) {
            if (hypervisor.ask<bool>(condition))
                return;
            std::this_thread::sleep_for(10ms);
        }
        FAIL() << "never happened";
    }
    bool exists(const std::string& name)
    {
        return hypervisor.ask<bool>([&] { return hypervisor.has(name); });
    }
    void expect_nothing_created()
    {
        EXPECT_FALSE(exists("web1"));
        EXPECT_EQ(hypervisor.ask<std::uint64_t>([&] { return hypervisor.free_memory; }),
                  FakeHypervisor::all_memory);
    }

    FakeHypervisor hypervisor;
    std::filesystem::path folder;
    Json config;
    std::unique_ptr<Daemon> daemon;
    std::thread thread;
    int stop_pipe[2]{};
    unsigned processes{};
};

TEST_F(Xld, CreateBuildsTheDomainThatTheConfigSays)
{
    config["vcpus"] = 3;
    config["boot"]["ramdisk"] = "disk";
    config["extensions"] = {{{"name", "viridian"},
                             {"params", Json::parse(R"({"spin": 5, "words": ["a", "b"], "none": [],
                                                       "deep": {"quiet": true}})")}},
                            {{"name", "novell"}}};
    const Outcome outcome{create({"-o", "json"})};
    ASSERT_EQ(outcome.status, 0) << outcome.err << outcome.out;
    EXPECT_EQ(outcome.json()["name"], "web1");
    hypervisor.run([&] {
        const FakeDomain& domain = hypervisor.by_name("web1");
        EXPECT_EQ(domain.registers.rip, 0x10'0004u);
        EXPECT_EQ(domain.memory.at(0x10'0000).size(), 64u);
        EXPECT_EQ(domain.modules, (std::vector<std::string>{"viridian", "novell"}));
        EXPECT_EQ(domain.parameters, (std::vector<std::string>{"spin", "words", "words", "none", "deep.quiet"}));
        std::size_t ramdisk{0};
        for (const auto& [address, bytes] : domain.memory)
            if (!bytes.empty() && bytes[0] == std::byte{'d'})
                ramdisk += bytes.size();
        EXPECT_EQ(ramdisk, 3u << 20);
    });
    const Json list = xl({"list", "-o", "json"}).json();
    ASSERT_EQ(list.size(), 2u);
    EXPECT_EQ(list[0]["name"], "dom0");
    EXPECT_EQ(list[1]["state"], "running");
    EXPECT_EQ(list[1]["vcpus"], 3);
    EXPECT_EQ(list[1]["memoryBytes"], 16 << 20);
    EXPECT_EQ(list[1]["extensions"], (Json{"viridian", "novell"}));
    EXPECT_EQ(list[1]["reason"], nullptr);
}

TEST_F(Xld, ConsoleIsThereBeforeTheFirstVcpuRuns)
{
    hypervisor.run([&] {
        hypervisor.on_unpause = [&](FakeDomain& domain) {
            hypervisor.say(domain, "first words\n");
            hypervisor.end(domain, protocol::EndReason::poweroff);
        };
    });
    const Outcome outcome{create({"-c"})};
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.out, "first words\n");
    EXPECT_NE(outcome.err.find("poweroff"), std::string::npos);
    std::ifstream log{folder / "logs" / "console-web1.log"};
    std::string line;
    std::getline(log, line);
    EXPECT_EQ(line, "first words");
    expect_nothing_created();
}

TEST_F(Xld, LastWordsThatArriveAfterTheNewsOfTheEndAreNotLost)
{
    config["on"] = {{"halt", "preserve"}};
    hypervisor.run([&] {
        hypervisor.on_unpause = [&](FakeDomain& domain) {
            hypervisor.end(domain, protocol::EndReason::halt);
            hypervisor.after_end = [&] { hypervisor.say(domain, "last words\n"); };
        };
    });
    const Outcome outcome{create({"-c"})};
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.out, "last words\n");
    EXPECT_EQ(xl({"destroy", "web1"}).status, 0);
}

TEST_F(Xld, CrashIsExitCode1)
{
    hypervisor.run([&] {
        hypervisor.on_unpause = [&](FakeDomain& domain) {
            hypervisor.end(domain, protocol::EndReason::crash, "triple fault");
        };
    });
    const Outcome outcome{create({"-c"})};
    EXPECT_EQ(outcome.status, 1);
    EXPECT_NE(outcome.err.find("crash: triple fault"), std::string::npos);
    expect_nothing_created();
}

TEST_F(Xld, ConsoleFollowsARestartAndReplaysNothing)
{
    auto runs = std::make_shared<unsigned>(0);
    hypervisor.run([&, runs] {
        hypervisor.on_unpause = [&, runs](FakeDomain& domain) {
            hypervisor.say(domain, "run " + std::to_string(++*runs) + "\n");
            hypervisor.end(domain, *runs == 1 ? protocol::EndReason::reboot : protocol::EndReason::halt);
        };
    });
    const Outcome outcome{create({"-c"})};
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.out, "run 1\nrun 2\n");
    EXPECT_NE(outcome.err.find("reboot"), std::string::npos);
    EXPECT_NE(outcome.err.find("halt"), std::string::npos);
    expect_nothing_created();
}

TEST_F(Xld, PreserveKeepsTheEndedDomainWithItsReason)
{
    config["on"] = {{"crash", "preserve"}};
    hypervisor.run([&] {
        hypervisor.on_unpause = [&](FakeDomain& domain) {
            hypervisor.end(domain, protocol::EndReason::crash, "triple fault");
        };
    });
    EXPECT_EQ(create({"-c"}).status, 1);
    const Json list = xl({"list", "-o", "json"}).json();
    ASSERT_EQ(list.size(), 2u);
    EXPECT_EQ(list[1]["state"], "ended");
    EXPECT_EQ(list[1]["reason"], "crash: triple fault");
    EXPECT_EQ(xl({"destroy", "web1"}).status, 0);
    expect_nothing_created();
}

TEST_F(Xld, TypedBytesReachTheGuestAndCtrlBracketLeaves)
{
    const Outcome outcome{create({"-c"}, "ls\n\x1dnot this")};
    EXPECT_EQ(outcome.status, 0);
    hypervisor.run([&] {
        char typed[32]{};
        EXPECT_EQ(::read(hypervisor.by_name("web1").console.number(), typed, sizeof typed), 3);
        EXPECT_STREQ(typed, "ls\n");
    });
    EXPECT_TRUE(exists("web1"));
}

TEST_F(Xld, EndOfInputDoesNotDetach)
{
    XlProcess process{
        start({"create", "-c", (write("config.json", config.dump()), folder / "config.json").string()})};
    eventually([&] { return hypervisor.has("web1") && hypervisor.by_name("web1").info.state == 3; });
    std::this_thread::sleep_for(100ms);
    hypervisor.run([&] {
        hypervisor.say(hypervisor.by_name("web1"), "later");
        hypervisor.end(hypervisor.by_name("web1"), protocol::EndReason::poweroff);
    });
    const Outcome outcome{process.wait()};
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.out, "later");
}

TEST_F(Xld, ConsoleVerbAttachesToARunningDomain)
{
    ASSERT_EQ(create().status, 0);
    XlProcess process{start({"console", "web1"})};
    for (unsigned i = 0; i < 100 && process.text_of("stdout").empty(); ++i) {  // until it is attached, nobody shows it
        hypervisor.run([&] { hypervisor.say(hypervisor.by_name("web1"), "seen"); });
        std::this_thread::sleep_for(100ms);
    }
    EXPECT_EQ(xl({"destroy", "web1"}).status, 0);
    const Outcome outcome{process.wait()};
    EXPECT_TRUE(outcome.out.starts_with("seen")) << outcome.out;
    EXPECT_EQ(outcome.status, 0);
    EXPECT_NE(outcome.err.find("destroyed"), std::string::npos);
}

TEST_F(Xld, KilledCreateLeavesNothing)
{
    hypervisor.run([&] { hypervisor.stall_finish = true; });
    write("config.json", config.dump());
    XlProcess process{start({"create", (folder / "config.json").string()})};
    eventually([&] { return hypervisor.has("web1"); });
    process.kill();
    EXPECT_EQ(process.wait().status, 128 + SIGKILL);
    std::this_thread::sleep_for(100ms);
    hypervisor.run([&] { hypervisor.stall_finish = false; });
    eventually([&] { return !hypervisor.has("web1"); });
    expect_nothing_created();
}

TEST_F(Xld, RefusalsReachTheUserWithPlaceAndExitCode)
{
    const auto error_of = [](const Outcome& outcome) { return outcome.json()["error"]; };
    config["extensions"] = {{{"name", "viridian"}}, {{"name", "novell"}}};
    hypervisor.run([&] { hypervisor.clashing_module = "novell"; });
    const Outcome clash{create({"-o", "json"})};
    EXPECT_EQ(clash.status, 4);
    EXPECT_EQ(error_of(clash)["pointer"], "/extensions/1");
    EXPECT_EQ(error_of(clash)["message"], "both want the same window");
    expect_nothing_created();

    hypervisor.run([&] {
        hypervisor.clashing_module.clear();
        hypervisor.binding_fails = "novell";
    });
    const Outcome bind{create({"-o", "json"})};
    EXPECT_EQ(bind.status, 4);
    EXPECT_EQ(error_of(bind)["pointer"], "/extensions/1");
    expect_nothing_created();
    hypervisor.run([&] { hypervisor.binding_fails.clear(); });

    config["extensions"] = {{{"name", "viridan"}}};
    const Outcome unknown{create({"-o", "json"})};
    EXPECT_EQ(unknown.status, 2);
    EXPECT_EQ(error_of(unknown)["pointer"], "/extensions/0/name");
    EXPECT_EQ(error_of(unknown)["suggestion"], "viridian");

    config["extensions"] = {{{"name", "viridian"},
                             {"params", Json::parse(R"({"spin": 1, "features": ["time", "bad"]})")}}};
    const Outcome parameter{create({"-o", "json"})};
    EXPECT_EQ(parameter.status, 2);
    EXPECT_EQ(error_of(parameter)["pointer"], "/extensions/0/params/features/1");

    config["extensions"] = Json::array();
    config["memory"] = "2GiB";
    const Outcome memory{create({"-o", "json"})};
    EXPECT_EQ(memory.status, 4);
    EXPECT_EQ(error_of(memory)["pointer"], "/memory");

    config["memory"] = "16MiB";
    config["boot"]["kernel"] = "nosuch";
    const Outcome missing{create({"-o", "json"})};
    EXPECT_EQ(missing.status, 3);
    EXPECT_EQ(error_of(missing)["pointer"], "/boot/kernel");

    write("cut", std::string{"\x7f" "ELF"});
    config["boot"]["kernel"] = "cut";
    const Outcome cut{create({"-o", "json"})};
    EXPECT_EQ(cut.status, 1);
    EXPECT_EQ(error_of(cut)["pointer"], "/boot/kernel");
    expect_nothing_created();
}

TEST_F(Xld, ANameIsTakenOnce)
{
    ASSERT_EQ(create().status, 0);
    EXPECT_EQ(create({"-o", "json"}).json()["error"]["pointer"], "/name");
    EXPECT_TRUE(exists("web1"));
}

TEST_F(Xld, PauseUnpauseRenameAndNames)
{
    ASSERT_EQ(create({"-p"}).status, 0);
    const auto state = [&] { return xl({"list", "-o", "json", "web1"}).json()[0]["state"]; };
    EXPECT_EQ(state(), "paused");
    EXPECT_EQ(xl({"unpause", "web1"}).status, 0);
    EXPECT_EQ(state(), "running");
    EXPECT_EQ(xl({"pause", "web1"}).status, 0);
    EXPECT_EQ(state(), "paused");
    EXPECT_EQ(xl({"domid", "web1"}).out, "1\n");
    EXPECT_EQ(xl({"domname", "1"}).out, "web1\n");
    EXPECT_EQ(xl({"rename", "web1", "web2"}).status, 0);
    EXPECT_TRUE(exists("web2"));
    EXPECT_EQ(xl({"rename", "web2", "../x"}).status, 2);
    const Outcome missing{xl({"domid", "wev2", "-o", "json"})};
    EXPECT_EQ(missing.status, 3);
    EXPECT_EQ(missing.json()["error"]["suggestion"], "web2");
    EXPECT_EQ(xl({"destroy", "dom0"}).status, 1);
}

TEST_F(Xld, ShutdownPressesTheButtonAndRebootStartsAgain)
{
    ASSERT_EQ(create().status, 0);
    EXPECT_EQ(xl({"reboot", "web1"}).status, 0);
    eventually([&] { return hypervisor.has("web1") && hypervisor.by_name("web1").info.domain == 2; });
    EXPECT_EQ(xl({"shutdown", "--wait", "web1"}).status, 0);
    eventually([&] { return !hypervisor.has("web1"); });
}

TEST_F(Xld, TriggersReachTheGuest)
{
    ASSERT_EQ(create().status, 0);
    EXPECT_EQ(xl({"trigger", "web1", "nmi"}).status, 0);
    hypervisor.run([&] { EXPECT_EQ(hypervisor.by_name("web1").nmis, 1u); });
    EXPECT_EQ(xl({"trigger", "web1", "nim"}).status, 2);
    EXPECT_EQ(xl({"trigger", "web1", "reset"}).status, 0);
    eventually([&] { return hypervisor.has("web1") && hypervisor.by_name("web1").info.domain == 2; });
}

TEST_F(Xld, ReadingVerbsTellWhatTheHypervisorKnows)
{
    config["vcpus"] = 2;
    ASSERT_EQ(create().status, 0);
    EXPECT_EQ(xl({"info", "-o", "json"}).json()["freeMemoryBytes"], FakeHypervisor::all_memory - (16 << 20));
    EXPECT_EQ(xl({"vcpu-list", "web1", "-o", "json"}).json().size(), 2u);
    EXPECT_EQ(xl({"uptime", "-o", "json"}).json().size(), 2u);
    const Json exits = xl({"exits", "web1", "-o", "json"}).json();
    EXPECT_EQ(exits["reasons"][0]["name"], "CPUID");
    EXPECT_EQ(exits["msrs"][0]["key"], 0x4000'0002);
    EXPECT_EQ(exits["msrs"][0]["count"], 7);
    EXPECT_TRUE(exits["counters"].empty()) << "no extension";
    EXPECT_EQ(xl({"dmesg"}).out, "first line\nsecond line\n");
    EXPECT_EQ(xl({"dmesg", "-o", "json"}).json()["lines"][1], "second line");
    EXPECT_EQ(xl({"dmesg", "-c"}).out, "first line\nsecond line\n");
    EXPECT_EQ(xl({"dmesg"}).out, "");
    EXPECT_EQ(xl({"list", "-l"}).json()[1]["config"]["name"], "web1");
    for (const char* verb : {"info", "list", "vcpu-list", "uptime", "ext-list"})
        EXPECT_FALSE(xl({verb}).out.empty()) << verb;
}

TEST_F(Xld, ExtensionsAreLoadedListedAndUnloaded)
{
    EXPECT_EQ(xl({"ext-load", "novell"}).status, 0);
    write("other", "other");
    EXPECT_EQ(xl({"ext-load", (folder / "other").string()}).status, 0);
    const Json list = xl({"ext-list", "-o", "json"}).json();
    ASSERT_EQ(list.size(), 2u);
    EXPECT_EQ(list[1]["name"], "other");
    EXPECT_EQ(list[1]["abi"], "0.1");
    EXPECT_EQ(list[1]["path"], (folder / "other").string());
    EXPECT_EQ(list[1]["hash"], "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa");
    EXPECT_EQ(xl({"ext-unload", "other"}).status, 0);
    EXPECT_EQ(xl({"ext-unload", "other"}).status, 3);
    EXPECT_EQ(xl({"ext-load", "nosuch"}).status, 3);
    write("broken", "broken");
    const Outcome broken{xl({"ext-load", (folder / "broken").string(), "-o", "json"})};
    EXPECT_EQ(broken.status, 1);
    EXPECT_EQ(broken.json()["error"]["message"], "section '.text': sh_offset is outside the file");
    config["extensions"] = {{{"name", "novell"}}};
    ASSERT_EQ(create().status, 0);
    EXPECT_EQ(xl({"ext-unload", "novell"}).status, 1);
}

TEST_F(Xld, TheReportOfAFailedExtensionIsShownWithItsCallsAndEvents)
{
    config["extensions"] = {{{"name", "novell"}}};
    ASSERT_EQ(create().status, 0);
    const Json all = xl({"ext-report", "web1", "-o", "json"}).json();
    ASSERT_EQ(all.size(), 1u);
    const Json& one = all[0];
    EXPECT_EQ(one["module"], "novell");
    EXPECT_EQ(one["reason"], "it failed");
    EXPECT_EQ(one["action"], "detach");
    EXPECT_EQ(one["placement"], "isolated");
    EXPECT_EQ(one["fault"]["vector"], 14);
    EXPECT_EQ(one["registers"]["rbx"], "0x1234");
    EXPECT_EQ(one["backtrace"][0]["function"], "Chaos::loop()");
    EXPECT_EQ(one["backtrace"][0]["inImage"], "0x10");
    EXPECT_EQ(one["backtrace"][1]["guessed"], true);
    EXPECT_TRUE(one["backtrace"][1]["function"].is_null());
    EXPECT_EQ(one["events"][0]["hook"], "msr_write");
    EXPECT_EQ(one["events"][0]["arguments"], Json::array({"0x0", "0x77"}));
    EXPECT_EQ(one["events"][1]["service"], "vcpu_kick");
    const Outcome text{xl({"ext-report", "web1", "novell"})};
    EXPECT_NE(text.out.find("failure 1 of 1: it failed\n"), std::string::npos) << text.out;
    EXPECT_NE(text.out.find("Chaos::loop()+16"), std::string::npos);
    EXPECT_NE(text.out.find("msr_write(0x0, 0x77)"), std::string::npos);
    EXPECT_EQ(xl({"ext-report", "web1", "viridian", "-o", "json"}).json(), Json::array());
    EXPECT_EQ(xl({"ext-report", "dom0"}).out, "no extension of the domain has failed\n");
    EXPECT_EQ(xl({"ext-report", "nosuch"}).status, 3);
}

TEST_F(Xld, TheMemoryOfAFailedExtensionBecomesACoreFile)
{
    config["extensions"] = {{{"name", "novell"}}};
    ASSERT_EQ(create().status, 0);
    const std::string path{(folder / "novell.core").string()};
    const Outcome written{xl({"ext-report", "web1", "--core", path})};
    ASSERT_EQ(written.status, 0) << written.err;
    EXPECT_NE(written.out.find("core:       gdb -ex 'core-file " + path + "' -ex 'add-symbol-file "), std::string::npos) << written.out;
    std::ifstream file{path, std::ios::binary};
    std::stringstream bytes;
    bytes << file.rdbuf();
    const std::string core{bytes.str()};
    ASSERT_EQ(core.size(), 4096u + 151'552u + 4096u);  // headers and notes, and two segments in whole pages
    EXPECT_EQ(core.substr(0, 4), "\x7f" "ELF");
    for (const std::size_t at : {0u, 1u, 250u, 251u, 70'000u, 149'999u})
        EXPECT_EQ(static_cast<unsigned char>(core[4096 + at]), at % 251) << at;
    EXPECT_EQ(xl({"ext-report", "dom0", "--core", path}).status, 3);
    EXPECT_EQ(xl({"ext-report", "web1", "--core", (folder / "no-such" / "file").string()}).status, 1);
}

TEST_F(Xld, TheLongListOfExtensionsSaysWhatEachIsAndNeeds)
{
    write("plain", "plain");
    write("signed", "signed");
    write("signed.sig", "vendor" + std::string(58, '\0'));
    EXPECT_EQ(xl({"ext-load", (folder / "plain").string()}).status, 0);
    EXPECT_EQ(xl({"ext-load", (folder / "signed").string()}).status, 0);
    config["extensions"] = {{{"name", "signed"}}};
    ASSERT_EQ(create().status, 0);
    const Json list = xl({"ext-list", "-l"}).json();
    ASSERT_EQ(list.size(), 2u);
    EXPECT_EQ(list[0]["signature"], "none");
    EXPECT_TRUE(list[0]["signer"].is_null());
    EXPECT_EQ(list[0]["instances"], Json::array());
    const Json& one = list[1];
    EXPECT_EQ(one["signature"], "good");
    EXPECT_EQ(one["signer"], "vendor");
    EXPECT_EQ(one["generation"], 2);
    EXPECT_EQ(one["fileBytes"], 6);
    EXPECT_EQ(one["memoryBytes"], 4096);
    EXPECT_EQ(one["serial"], true);
    EXPECT_EQ(one["bindings"], 1);
    EXPECT_EQ(one["needs"]["services"], Json::array({"registers", "injection"}));
    EXPECT_EQ(one["needs"]["windows"][0]["kind"], "msr");
    EXPECT_EQ(one["needs"]["windows"][0]["base"], 0x4000'0000);
    EXPECT_EQ(one["needs"]["windows"][0]["fixed"], true);
    ASSERT_EQ(one["needs"]["exits"].size(), 1100u);
    EXPECT_EQ(one["needs"]["exits"][1099]["kind"], "halt");
    EXPECT_EQ(one["needs"]["exits"][1099]["count"], 1100);
    ASSERT_EQ(one["instances"].size(), 1u);
    const Json& instance = one["instances"][0];
    EXPECT_EQ(instance["domain"], "web1");
    EXPECT_EQ(instance["placement"], "isolated");
    EXPECT_EQ(instance["onFault"], "restart");
    EXPECT_EQ(instance["state"], "ended");
    EXPECT_EQ(instance["restarts"], 3);
    EXPECT_EQ(instance["generation"], 2);
    EXPECT_EQ(instance["budgetNanoseconds"], 1'000'000);
    EXPECT_FALSE(xl({"ext-list", "-o", "json"}).json()[0].contains("needs"));
}

TEST_F(Xld, ASignatureOfAnotherLengthIsNotPassedOver)
{
    write("odd", "odd");
    for (const std::size_t size : {0u, 63u, 65u}) {
        write("odd.sig", std::string(size, 's'));
        const Outcome refused{xl({"ext-load", (folder / "odd").string()})};
        EXPECT_EQ(refused.status, 4);
        EXPECT_NE(refused.err.find("a signature has 64"), std::string::npos) << refused.err;
    }
    EXPECT_EQ(xl({"ext-list", "-o", "json"}).json().size(), 0u);
    write("extensions/novell.hvx.sig", "short");
    config["extensions"] = {{{"name", "novell"}}};
    EXPECT_EQ(create().status, 4);
}

TEST_F(Xld, ManyDomainsComeAndGoAndNothingIsLeft)
{
    for (unsigned i = 0; i < 10; ++i) {
        ASSERT_EQ(create().status, 0);
        ASSERT_EQ(xl({"destroy", "web1"}).status, 0);
    }
    expect_nothing_created();
}

/// A client that knows the socket and nothing else.
FileDescriptor raw_client(const std::filesystem::path& socket)
{
    FileDescriptor client{::socket(AF_UNIX, SOCK_STREAM, 0)};
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket.string().copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(client.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return client;
}

TEST_F(Xld, MalformedClientsAreAnsweredAndCutOff)
{
    const std::string good{encode_frame(FrameType::request, 1, R"({"verb": "list"})")};
    std::vector<std::string> streams{std::string(64, 'x'), encode_frame(FrameType::request, 1, "no json"),
                                     encode_frame(FrameType::request, 1, "[]"),
                                     encode_frame(FrameType::request, 1, R"({"verb": 1})"),
                                     encode_frame(FrameType::reply, 1, "{}"),
                                     encode_frame(FrameType::console_input, 1, "x")};
    std::string oversized{good};
    oversized[11] = '\x7f';  // the length's highest byte
    streams.push_back(oversized);
    for (const std::string& stream : streams) {
        const FileDescriptor client{raw_client(folder / "sock")};
        ASSERT_EQ(::send(client.number(), stream.data(), stream.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(stream.size()));
        std::string answer;
        char buffer[4096];
        for (ssize_t count{}; (count = ::recv(client.number(), buffer, sizeof buffer, 0)) > 0;)
            answer.append(buffer, static_cast<std::size_t>(count));
        EXPECT_NE(answer.find("message"), std::string::npos);
    }
    for (std::size_t length = 0; length < good.size(); length += 3) {
        const FileDescriptor client{raw_client(folder / "sock")};
        EXPECT_EQ(::send(client.number(), good.data(), length, MSG_NOSIGNAL), static_cast<ssize_t>(length));
    }
    EXPECT_EQ(xl({"list"}).status, 0);
}

TEST_F(Xld, RequestsWithoutWhatTheyNeedAreRefused)
{
    for (const char* request :
         {R"({"verb": "create"})", R"({"verb": "nosuch"})", R"({"verb": "destroy"})",
          R"({"verb": "destroy", "domain": 7})", R"({"verb": "create", "config": 1})",
          R"({"verb": "ext-load", "path": "x"})", R"({"verb": "trigger", "domain": "dom0"})"}) {
        const FileDescriptor client{raw_client(folder / "sock")};
        const std::string stream{encode_frame(FrameType::request, 9, request)};
        ASSERT_EQ(::send(client.number(), stream.data(), stream.size(), 0),
                  static_cast<ssize_t>(stream.size()));
        FrameReader reader;
        char buffer[4096];
        const ssize_t count{::recv(client.number(), buffer, sizeof buffer, 0)};
        ASSERT_GT(count, 0);
        reader.add({buffer, static_cast<std::size_t>(count)});
        const auto answer = reader.next();
        ASSERT_TRUE(answer);
        EXPECT_EQ(answer->type, FrameType::failure) << request;
        EXPECT_EQ(answer->id, 9u);
    }
}

TEST_F(Xld, SocketIsForItsOwnerAndGroup)
{
    struct stat status{};
    ASSERT_EQ(::stat((folder / "sock").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0660u);
}

TEST(XlAlone, SaysThatThereIsNoXldAndWhatIsWrongWithTheCommandLine)
{
    std::string name{"/tmp/xl_test.XXXXXX"};
    const std::filesystem::path folder{::mkdtemp(name.data())};
    const auto xl = [&](std::vector<std::string> words) {
        return XlProcess{folder, std::move(words)}.wait();
    };
    EXPECT_EQ(xl({"list"}).status, 6);
    EXPECT_EQ(xl({}).status, 2);
    EXPECT_EQ(xl({"list", "--nosuch"}).status, 2);
    const Outcome misspelt{xl({"lits", "-o", "json"})};
    EXPECT_EQ(misspelt.status, 2);
    EXPECT_EQ(misspelt.json()["error"]["suggestion"], "list");
    EXPECT_EQ(xl({"validate", (folder / "nosuch.json").string()}).status, 3);
    for (const char* verb :
         {"create",  "validate", "list",     "destroy",    "shutdown", "reboot",    "pause",  "unpause",
          "console", "info",     "dmesg",    "vcpu-list",  "domid",    "domname",   "rename", "uptime",
          "trigger", "exits",    "ext-load", "ext-unload", "ext-list", "ext-verify",
          "ext-keygen", "ext-sign"}) {
        const Outcome help{xl({verb, "--help"})};
        EXPECT_EQ(help.status, 0) << verb;
        EXPECT_NE(help.out.find("Exit codes"), std::string::npos) << verb;
    }
    std::filesystem::remove_all(folder);
}

TEST_F(Xld, AnotherXldGoesOnWithTheConfigsOfTheFirst)
{
    config["boot"]["ramdisk"] = "disk";
    config["on"] = {{"crash", "preserve"}};
    config["extensions"] = {{{"name", "viridian"}, {"params", Json::parse(R"({"features": ["time"]})")}}};
    ASSERT_EQ(create().status, 0);
    EXPECT_EQ(xl({"rename", "web1", "web2"}).status, 0);
    struct stat status{};
    ASSERT_EQ(::stat((folder / "state" / "1.json").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    stop_daemon();
    start_daemon();
    const Json list = xl({"list", "-l", "web2"}).json();
    EXPECT_EQ(list[0]["config"]["name"], "web2");
    EXPECT_EQ(list[0]["config"]["on"]["crash"], "preserve");
    EXPECT_EQ(list[0]["config"]["extensions"][0]["params"]["features"][0], "time");
    EXPECT_EQ(list[0]["bindings"][0]["settled"]["features"], Json::array({"base", "time"}));
    const Json exits = xl({"exits", "web2", "-o", "json"}).json();
    EXPECT_EQ(exits["msrs"][0]["vcpus"], Json::array({7}));
    const Json& counters = exits["counters"];
    ASSERT_EQ(counters.size(), 1u);
    EXPECT_EQ(counters[0]["name"], "viridian flushes");
    EXPECT_EQ(counters[0]["count"], 81);
    EXPECT_EQ(counters[0]["vcpus"], Json::array({40, 41}));
    EXPECT_TRUE(std::regex_search(xl({"exits", "web2"}).out, std::regex{R"(counter +viridian flushes +81 *\n)"}));

    EXPECT_EQ(xl({"trigger", "web2", "reset"}).status, 0);
    eventually([&] { return hypervisor.has("web2") && hypervisor.by_name("web2").info.domain == 2; });
    eventually([&] { return hypervisor.by_name("web2").info.state == 3; });
    hypervisor.run([&] { EXPECT_EQ(hypervisor.by_name("web2").modules, std::vector<std::string>{"viridian"}); });
    EXPECT_EQ(stored(), 1u);

    hypervisor.run([&] { hypervisor.end(hypervisor.by_name("web2"), protocol::EndReason::crash, "x"); });
    stop_daemon();
    start_daemon();
    EXPECT_EQ(xl({"list", "web2", "-o", "json"}).json()[0]["state"], "ended");  // preserved, by the same config
    EXPECT_EQ(xl({"destroy", "web2"}).status, 0);
    EXPECT_EQ(stored(), 0u);
}

TEST_F(Xld, AnAttachedExtensionIsOfTheConfigADetachedOneIsNotAnyMore)
{
    config["extensions"] = {{{"name", "novell"}}};
    ASSERT_EQ(create().status, 0);
    const Outcome attached{xl({"-o", "json", "ext-attach", "web1", "viridian", "features=[\"time\"]", "deep.word=x",
                               "--on-fault", "pause"})};
    ASSERT_EQ(attached.status, 0) << attached.err;
    EXPECT_EQ(attached.json()["attached"], "viridian");
    hypervisor.run([&] {
        EXPECT_EQ(hypervisor.by_name("web1").modules, (std::vector<std::string>{"novell", "viridian"}));
        EXPECT_EQ(hypervisor.by_name("web1").parameters, (std::vector<std::string>{"features", "deep.word"}));
    });
    ASSERT_EQ(xl({"ext-detach", "web1", "novell"}).status, 0);
    stop_daemon();
    start_daemon();
    const Json extensions = xl({"list", "-l", "web1"}).json()[0]["config"]["extensions"];
    ASSERT_EQ(extensions.size(), 1u);
    EXPECT_EQ(extensions[0]["name"], "viridian");
    EXPECT_EQ(extensions[0]["params"]["features"][0], "time");
    EXPECT_EQ(extensions[0]["onFault"], "pause");

    EXPECT_EQ(xl({"trigger", "web1", "reset"}).status, 0);
    eventually([&] { return hypervisor.has("web1") && hypervisor.by_name("web1").info.domain == 2; });
    eventually([&] { return hypervisor.by_name("web1").info.state == 3; });
    hypervisor.run([&] { EXPECT_EQ(hypervisor.by_name("web1").modules, std::vector<std::string>{"viridian"}); });
}

TEST_F(Xld, WhatCannotBeAttachedOrDetachedLeavesTheConfig)
{
    config["extensions"] = {{{"name", "viridian"}}};
    ASSERT_EQ(create().status, 0);
    EXPECT_EQ(xl({"ext-attach", "web2", "novell"}).status, 3);
    EXPECT_EQ(xl({"ext-attach", "dom0", "novell"}).status, 1);
    EXPECT_EQ(xl({"ext-attach", "web1", "novel"}).status, 2);
    EXPECT_EQ(xl({"ext-attach", "web1", "novell", "word"}).status, 2);
    EXPECT_EQ(xl({"ext-attach", "web1", "novell", "--placement", "nowhere"}).status, 2);
    EXPECT_EQ(xl({"ext-attach", "web1", "novell", "word=bad"}).status, 2);
    const Outcome unknown{xl({"-o", "json", "ext-attach", "web1", "novell", "word=good", "unknown=1"})};
    EXPECT_EQ(unknown.status, 2);
    EXPECT_EQ(unknown.json()["error"]["pointer"], "/extensions/0/params/unknown");
    hypervisor.run([&] { hypervisor.binding_fails = "novell"; });
    const Outcome clash{xl({"-o", "json", "ext-attach", "web1", "novell"})};
    EXPECT_EQ(clash.status, 4);
    EXPECT_EQ(clash.json()["error"]["message"], "it does not like the domain");

    const Outcome absent{xl({"-o", "json", "ext-detach", "web1", "viridan"})};
    EXPECT_EQ(absent.status, 3);
    EXPECT_EQ(absent.json()["error"]["suggestion"], "viridian");
    hypervisor.run([&] { hypervisor.clashing_module = "viridian"; });
    EXPECT_EQ(xl({"ext-detach", "web1", "viridian"}).status, 4);
    const Json extensions = xl({"list", "-l", "web1"}).json()[0]["config"]["extensions"];
    ASSERT_EQ(extensions.size(), 1u);
    EXPECT_EQ(extensions[0]["name"], "viridian");
}

TEST_F(Xld, ASwapHasABeforeAndAnAfterOfExits)
{
    config["extensions"] = {{{"name", "viridian"}}};
    ASSERT_EQ(create().status, 0);
    const auto stands_at = [&](std::uint64_t cpuid, std::uint64_t all, std::uint64_t seconds, std::uint64_t ran) {
        hypervisor.run([&] {
            hypervisor.cpuid_exits = cpuid;
            hypervisor.run_ticks = ran * 1'000'000'000;
            hypervisor.by_name("web1").info.exits = all;
            hypervisor.by_name("web1").info.uptime_ticks = seconds * 1'000'000'000;
        });
    };
    const Outcome nothing{xl({"exits", "web1", "--compare"})};
    EXPECT_EQ(nothing.status, 1);
    EXPECT_NE(nothing.err.find("nothing to compare"), std::string::npos) << nothing.err;
    stands_at(100, 110, 10, 5);
    write("extensions/next.hvx", "next");
    const std::string next{folder / "extensions/next.hvx"};
    ASSERT_EQ(xl({"ext-swap", "web1", "viridian", next}).status, 0);
    stands_at(130, 150, 12, 6);
    const Json compared = xl({"exits", "web1", "--compare", "-o", "json"}).json();
    const Json &before = compared["before"], &after = compared["after"];
    EXPECT_EQ(before["extension"], "viridian");
    EXPECT_EQ(before["total"], 110);
    EXPECT_EQ(before["uptimeNs"], 10'000'000'000);
    EXPECT_EQ(before["reasons"][0]["count"], 100);
    EXPECT_EQ(before["msrs"][0]["count"], 7);
    EXPECT_EQ(after["extension"], "next");
    EXPECT_EQ(after["total"], 40);
    EXPECT_EQ(after["runNs"], 1'000'000'000);
    EXPECT_EQ(after["reasons"][0]["count"], 30);
    EXPECT_TRUE(after["msrs"].empty()) << "nothing more of it";
    const std::string table{xl({"exits", "web1", "--compare"}).out};
    EXPECT_TRUE(std::regex_search(table, std::regex{"web1: before, viridian for 10.0s; after, next for 2.0s"})) << table;
    EXPECT_TRUE(std::regex_search(table, std::regex{R"(all +exits +110 +11\.0 +40 +20\.0 +\+81\.8%)"})) << table;
    EXPECT_TRUE(std::regex_search(table, std::regex{R"(reason +CPUID +100 +10\.0 +30 +15\.0 +\+50\.0%)"})) << table;
    ASSERT_EQ(xl({"ext-swap", "web1", "next", "viridian"}).status, 0);
    EXPECT_EQ(xl({"exits", "web1", "--compare", "-o", "json"}).json()["before"]["total"], 40) << "from the swap before on";
}

TEST_F(Xld, EachDomainSwapsOrKeepsWhatItHasAndTheAnswerListsAll)
{
    config["extensions"] = {{{"name", "viridian"}}};
    for (const char* const name : {"one", "two", "three", "other"}) {
        config["name"] = name;
        if (std::string_view{name} == "other")
            config["extensions"] = Json::array();
        ASSERT_EQ(create().status, 0);
    }
    write("extensions/next.hvx", "next");
    const std::string next{folder / "extensions/next.hvx"};
    hypervisor.run([&] { hypervisor.keeping_domain = "two"; });
    const Outcome tried{xl({"ext-swap", "--all", "--dry-run", "viridian", next})};
    EXPECT_EQ(tried.status, 4) << tried.err;
    hypervisor.run([&] { EXPECT_EQ(hypervisor.by_name("one").modules, std::vector<std::string>{"viridian"}); });

    const Outcome swapped{xl({"-o", "json", "ext-swap", "--all", "viridian", next})};
    EXPECT_EQ(swapped.status, 4) << swapped.err;
    const Json domains = swapped.json()["domains"];
    ASSERT_EQ(domains.size(), 3u);
    EXPECT_EQ(domains[0]["domain"], "one");
    EXPECT_EQ(domains[0]["report"]["new"]["name"], "next");
    EXPECT_EQ(domains[1]["domain"], "two");
    EXPECT_EQ(domains[1]["kept"], "the new one wants other windows");
    EXPECT_EQ(domains[2]["domain"], "three");
    hypervisor.run([&] {
        EXPECT_EQ(hypervisor.by_name("one").modules, std::vector<std::string>{"next"});
        EXPECT_EQ(hypervisor.by_name("two").modules, std::vector<std::string>{"viridian"});
        EXPECT_EQ(hypervisor.by_name("three").modules, std::vector<std::string>{"next"});
        EXPECT_EQ(hypervisor.by_name("other").modules, std::vector<std::string>{});
        hypervisor.keeping_domain.clear();
    });
    EXPECT_EQ(xl({"ext-swap", "--all", "viridian", next}).status, 0);
    EXPECT_EQ(xl({"ext-swap", "--all", "viridian", next}).status, 3);
    EXPECT_EQ(xl({"ext-swap", "--all", "one", "next", next}).status, 2);
    EXPECT_EQ(xl({"ext-swap", "one", "next"}).status, 2);
}

TEST_F(Xld, ARebootThatWasAskedOfTheFirstXldIsDoneByTheNext)
{
    ASSERT_EQ(create().status, 0);
    hypervisor.run([&] { hypervisor.ignore_powerbutton = true; });
    EXPECT_EQ(xl({"reboot", "web1"}).status, 0);
    stop_daemon();
    hypervisor.run([&] { hypervisor.end(hypervisor.by_name("web1"), protocol::EndReason::poweroff); });
    start_daemon();
    eventually([&] { return hypervisor.has("web1") && hypervisor.by_name("web1").info.domain == 2; });
}

TEST_F(Xld, AnEndWithNoXldThereIsActedOnByTheNext)
{
    ASSERT_EQ(create().status, 0);
    stop_daemon();
    hypervisor.run([&] { hypervisor.end(hypervisor.by_name("web1"), protocol::EndReason::poweroff); });
    start_daemon();
    eventually([&] { return !hypervisor.has("web1"); });
    expect_nothing_created();
}

TEST_F(Xld, AFileThatIsAnotherOneByNowIsNotUsedAgain)
{
    ASSERT_EQ(create().status, 0);
    stop_daemon();
    std::filesystem::rename(folder / "kernel", folder / "old");
    std::filesystem::copy(folder / "old", folder / "kernel");
    start_daemon();
    EXPECT_EQ(xl({"list", "-l", "web1"}).json()[0]["config"]["name"], "web1");
    const Outcome refused{xl({"reboot", "web1"})};
    EXPECT_EQ(refused.status, 1);
    EXPECT_NE(refused.err.find("kernel is not the file that it was"), std::string::npos) << refused.err;
    EXPECT_EQ(xl({"trigger", "web1", "reset"}).status, 0);
    eventually([&] { return !hypervisor.has("web1"); });  // what cannot be restarted is destroyed
}

TEST_F(Xld, AWordOfAnotherDomainOrOfNoneIsNotBelieved)
{
    ASSERT_EQ(create().status, 0);
    EXPECT_EQ(xl({"pause", "web1"}).status, 0);
    hypervisor.run([&] { hypervisor.by_name("web1").info.uuid[0] ^= 1; });
    write("state/7.json", "{}");
    write("state/notes", "not ours");
    stop_daemon();
    start_daemon();
    EXPECT_EQ(xl({"list", "-l", "web1"}).json()[0]["config"], nullptr);
    EXPECT_FALSE(std::filesystem::exists(folder / "state" / "7.json"));
    EXPECT_TRUE(std::filesystem::exists(folder / "state" / "notes"));
    write("state/1.json", "{ this is no JSON");
    stop_daemon();
    start_daemon();
    EXPECT_EQ(xl({"list", "-l", "web1"}).json()[0]["config"], nullptr);
    EXPECT_EQ(xl({"reboot", "web1"}).status, 1);
    EXPECT_EQ(xl({"destroy", "web1"}).status, 0);
}

TEST_F(Xld, ListShowsWhyAnExtensionPausedADomain)
{
    ASSERT_EQ(create().status, 0);
    hypervisor.run([&] {
        FakeDomain& domain = hypervisor.by_name("web1");
        domain.info.state = static_cast<std::uint32_t>(protocol::DomainState::paused);
        protocol::set_text_truncated(domain.info.reason, "extension x: look at this");
    });
    EXPECT_EQ(xl({"list", "web1", "-o", "json"}).json()[0]["reason"], "extension x: look at this");
    EXPECT_NE(xl({"list", "web1"}).out.find("paused"), std::string::npos);
    EXPECT_NE(xl({"list", "web1"}).out.find("look at this"), std::string::npos);
}

/// A domain with an extension that sends back what it gets, with a word before it.
class XldChannels : public Xld {
protected:
    void SetUp() override
    {
        Xld::SetUp();
        config["extensions"] = {{{"name", "viridian"}}};
        ASSERT_EQ(create().status, 0);
        hypervisor.run([&] {
            hypervisor.on_channel_message = [&](FakeChannel& channel, const std::string& message) {
                ++channel.room;
                hypervisor.say(channel, "echo " + message);
            };
        });
    }
    XlProcess start_channel(std::vector<std::string> options, const std::string& input = {})
    {
        options.insert(options.begin(), {"channel", "web1", "bus"});
        return start(std::move(options), input);
    }
    Outcome channel(std::vector<std::string> options, const std::string& input = {})
    {
        return start_channel(std::move(options), input).wait();
    }
    void expect_closed()
    {
        eventually([&] { return hypervisor.channels.empty(); });
    }
};

TEST_F(XldChannels, LinesGoOutAndMessagesComeIn)
{
    const Outcome outcome{channel({"--receive", "3"}, "one\ntwo\nthe last one has no end")};
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.out, "echo one\necho two\necho the last one has no end\n");
    expect_closed();
}

TEST_F(XldChannels, MoreMessagesThanHaveRoomAllCome)
{
    std::string input, expected;
    for (unsigned count = 0; count < 300; ++count) {
        input += std::to_string(count) + "\n";
        expected += "echo " + std::to_string(count) + "\n";
    }
    EXPECT_EQ(channel({"--receive", "300"}, input).out, expected);
}

TEST_F(XldChannels, BytesAreHexadecimalDigitsAndJsonIsALineEach)
{
    EXPECT_EQ(channel({"--hex", "--send", "00ff0A", "--receive", "1"}).out, "6563686f2000ff0a\n");
    const Outcome outcome{channel({"-o", "json", "--send", "text", "--send", "mehr\xc3\xa4", "--receive", "2"})};
    std::istringstream lines{outcome.out};
    std::string line;
    std::getline(lines, line);
    EXPECT_EQ(Json::parse(line), (Json{{"bytes", 9}, {"hex", "6563686f2074657874"}, {"text", "echo text"}}));
    std::getline(lines, line);
    EXPECT_EQ(Json::parse(line)["text"], nullptr);
    EXPECT_EQ(channel({"--send", "and no more"}).out, "");
}

TEST_F(XldChannels, NobodyAtTheOtherEndIsAnErrorUnlessThereIsTime)
{
    hypervisor.run([&] { hypervisor.on_channel_open = [](FakeChannel& one) { one.connected = false; }; });
    const Outcome nobody{channel({"--send", "x"})};
    EXPECT_EQ(nobody.status, 3);
    EXPECT_NE(nobody.err.find("nobody has the other end"), std::string::npos);
    const Outcome late{channel({"--send", "x", "--timeout", "1"})};
    EXPECT_EQ(late.status, 5);
    EXPECT_NE(late.err.find("nobody has opened"), std::string::npos);
    XlProcess waiting{start_channel({"--send", "x", "--receive", "1", "--timeout", "100"})};
    eventually([&] { return hypervisor.channel("bus") != nullptr; });
    hypervisor.run([&] {
        hypervisor.channel("bus")->connected = true;
        hypervisor.announce(*hypervisor.channel("bus"));
    });
    const Outcome outcome{waiting.wait()};
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.out, "echo x\n");
    expect_closed();
}

TEST_F(XldChannels, WhereThereIsNoRoomTheMessageWaits)
{
    hypervisor.run([&] { hypervisor.on_channel_open = [](FakeChannel& one) { one.room = 0; }; });
    EXPECT_EQ(channel({"--send", "x", "--timeout", "1"}).status, 5);
    XlProcess waiting{start_channel({"--send", "x", "--receive", "1"})};
    eventually([&] { return hypervisor.channel("bus") != nullptr; });
    hypervisor.run([&] {
        hypervisor.channel("bus")->room = 1;
        hypervisor.announce(*hypervisor.channel("bus"));
    });
    EXPECT_EQ(waiting.wait().out, "echo x\n");
    EXPECT_EQ(channel({"--receive", "1", "--timeout", "1"}).status, 5);
}

TEST_F(XldChannels, WhatCannotBeIsRefused)
{
    EXPECT_EQ(xl({"channel", "nosuch", "bus", "--send", "x"}).status, 3);
    EXPECT_EQ(xl({"channel", "web1"}).status, 2);
    EXPECT_EQ(channel({"--receive", "-1"}).status, 2);
    EXPECT_EQ(channel({"--hex", "--send", "0"}).status, 2);
    EXPECT_EQ(channel({"--hex", "--send", "0g"}).status, 2);
    EXPECT_EQ(channel({}, std::string(513, 'x') + "\n").status, 2);
    EXPECT_EQ(channel({}, "one\n\n").status, 2);
    EXPECT_EQ(xl({"channel", "web1", std::string(32, 'n'), "--send", "x"}).status, 2);
    config["name"] = "plain";
    config.erase("extensions");
    ASSERT_EQ(create().status, 0);
    EXPECT_EQ(xl({"channel", "plain", "bus", "--send", "x"}).status, 4);
    expect_closed();
}

TEST_F(XldChannels, AnEndIsOneClientsAndIsClosedWithIt)
{
    XlProcess first{start_channel({"--receive", "1", "--timeout", "100"})};
    eventually([&] { return hypervisor.channel("bus") != nullptr; });
    const Outcome second{channel({"--send", "x"})};
    EXPECT_EQ(second.status, 1);
    EXPECT_NE(second.err.find("open already"), std::string::npos);
    first.kill();
    static_cast<void>(first.wait());
    expect_closed();
    EXPECT_EQ(channel({"--send", "x", "--receive", "1"}).out, "echo x\n");
}

TEST_F(XldChannels, TheEndOfTheDomainIsToldBehindItsLastMessages)
{
    XlProcess follower{start_channel({})};
    eventually([&] { return hypervisor.channel("bus") != nullptr; });
    hypervisor.run([&] {
        for (const char* const word : {"some", "last", "words"})
            hypervisor.say(*hypervisor.channel("bus"), word);
        hypervisor.end(hypervisor.by_name("web1"), protocol::EndReason::poweroff);
    });
    const Outcome outcome{follower.wait()};
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.out, "some\nlast\nwords\n");
    EXPECT_NE(outcome.err.find("poweroff"), std::string::npos);
    eventually([&] { return !hypervisor.has("web1"); });
    ASSERT_EQ(create().status, 0);
    XlProcess waiting{start_channel({"--receive", "1"})};
    eventually([&] { return hypervisor.channel("bus") != nullptr; });
    EXPECT_EQ(xl({"destroy", "web1"}).status, 0);
    const Outcome destroyed{waiting.wait()};
    EXPECT_EQ(destroyed.status, 1);
    EXPECT_NE(destroyed.err.find("destroyed"), std::string::npos);
}

TEST_F(XldChannels, WhenXldGoesNoEndIsLeft)
{
    XlProcess follower{start_channel({})};
    eventually([&] { return hypervisor.channel("bus") != nullptr; });
    stop_daemon();
    EXPECT_EQ(follower.wait().status, 6);
    expect_closed();
    start_daemon();
    EXPECT_EQ(channel({"--send", "x", "--receive", "1"}).out, "echo x\n");
}

TEST(XlDocs, CarryTheVerbsAndExitCodesOfTheProgram)
{
    const std::filesystem::path path{std::filesystem::path{HV_SOURCE_ROOT} / "docs" / "xl.md"};
    const std::string begin_mark{"<!-- from the program: begin -->\n"};
    std::ifstream file{path};
    std::ostringstream text;
    text << file.rdbuf();
    const auto start = text.str().find(begin_mark) + begin_mark.size();
    const auto end = text.str().find("<!-- from the program: end -->");
    ASSERT_LE(start, end);
    if (std::getenv("HV_UPDATE_DOCS") != nullptr)
        std::ofstream{path} << text.str().substr(0, start) << verb_reference() << text.str().substr(end);
    else
        EXPECT_EQ(text.str().substr(start, end - start), verb_reference()) << "run this test with HV_UPDATE_DOCS=1";
}

TEST_F(Xld, EveryVerbHasHelpWithTheExitCodes)
{
    std::istringstream rows{verb_reference()};
    unsigned verbs{0};
    for (std::string row; std::getline(rows, row) && !row.empty();) {
        if (!row.starts_with("| `"))
            continue;
        const std::string verb{row.substr(3, row.find_first_of(" `", 3) - 3)};
        const Outcome help{xl({verb, "--help"})};
        EXPECT_EQ(help.status, 0) << verb;
        EXPECT_NE(help.out.find("Exit codes: 0 done"), std::string::npos) << verb;
        ++verbs;
    }
    EXPECT_GE(verbs, 22u);
}

TEST_F(Xld, EveryVerbThatReadsGivesJson)
{
    ASSERT_EQ(create().status, 0);
    write("module.hvx", "no module");
    const std::string file{(folder / "config.json").string()};
    const std::vector<std::vector<std::string>> all{
        {"list"}, {"list", "web1"}, {"list", "-l"}, {"info"}, {"dmesg"}, {"vcpu-list"}, {"vcpu-list", "web1"},
        {"domid", "web1"}, {"domname", "1"}, {"uptime"}, {"uptime", "web1"}, {"exits", "web1"}, {"ext-list"},
        {"ext-verify", (folder / "module.hvx").string()}, {"validate", file}, {"create", "-n", file}};
    for (std::vector<std::string> words : all) {
        words.insert(words.end(), {"-o", "json"});
        const Outcome outcome{xl(words)};
        EXPECT_TRUE(Json::accept(outcome.out)) << words[0] << ": " << outcome.out << outcome.err;
        EXPECT_TRUE(outcome.err.empty()) << words[0] << ": " << outcome.err;
    }
}

TEST_F(Xld, ColourIsForTerminalsAlone)
{
    ASSERT_EQ(create().status, 0);
    EXPECT_EQ(xl({"list"}).out.find('\x1b'), std::string::npos);
    EXPECT_NE(Table{{"STATE"}}.text(true).find('\x1b'), std::string::npos);
}

TEST(GroupNumber, IsReadFromTheFile)
{
    const auto file = std::filesystem::temp_directory_path() / ("xl_group." + std::to_string(::getpid()));
    std::ofstream{file} << "root:x:0:\ngrafting:x:5:\ngraft:x:900:a,b\nbad\n";
    EXPECT_EQ(group_number("graft", file), 900u);
    EXPECT_EQ(group_number("root", file), 0u);
    EXPECT_FALSE(group_number("bad", file));
    EXPECT_FALSE(group_number("nosuch", file));
    EXPECT_FALSE(group_number("graft", file.string() + ".nosuch"));
    std::filesystem::remove(file);
}

}  // namespace
}  // namespace hv::xl

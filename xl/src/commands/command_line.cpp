// SPDX-License-Identifier: MIT
//
// The command line: one table of verbs, parsed by CLI11; help, errors and exit codes in one place.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <map>
#include <string>

#include "base/file.hpp"
#include "base/suggest.hpp"
#include "commands/commands.hpp"
#include "hv/protocol/control.hpp"
#include "output/output.hpp"

namespace hv::xl {
namespace {

using Run = ExitCode (*)(const Arguments&);

struct ExitMeaning {
    ExitCode code;
    const char* text;
};
constexpr ExitMeaning exit_meanings[]{
    {ExitCode::done, "done"},
    {ExitCode::failed, "failed, or the domain crashed"},
    {ExitCode::bad_text, "bad text: usage, unknown key, wrong type, unknown extension"},
    {ExitCode::not_found, "no such domain, module or file"},
    {ExitCode::not_granted, "cannot be granted: window clash, memory, policy, signature, a domain that does not run"},
    {ExitCode::timed_out, "timed out"},
    {ExitCode::not_connected, "not connected"},
};

std::string exit_codes()
{
    std::string text{"Exit codes: "};
    for (const ExitMeaning& one : exit_meanings)
        text += std::string{one.code == ExitCode::done ? "" : "; "} + std::to_string(static_cast<int>(one.code)) +
                " " + one.text;
    return text;
}

/// What a verb takes beside its own options.
enum class Operand : unsigned char { none, config, module_file, module_name, key_name, domain, optional_domain };

struct Verb {
    const char* name;
    const char* help;
    Operand operand;
    Run run;
    void (*options)(CLI::App&, Arguments&);
};

void no_options(CLI::App&, Arguments&) {}

void set_option(CLI::App& app, Arguments& arguments)
{
    app.add_option(
           "--set", arguments.settings,
           "a.b=VALUE: replaces one value of the config; VALUE is JSON if it parses as such, else a string")
        ->type_name("PATH=VALUE")
        ->allow_extra_args(false);
}

void create_options(CLI::App& app, Arguments& arguments)
{
    app.add_flag("-c,--console", arguments.console, "attach the console before the first VCPU runs");
    app.add_flag("-p,--paused", arguments.paused, "leave the domain paused");
    app.add_flag("-n,--dry-run", arguments.dry_run, "print the resolved config and do nothing");
    set_option(app, arguments);
}

void wait_options(CLI::App& app, Arguments& arguments)
{
    app.add_flag("-w,--wait", arguments.wait, "until the domain has ended");
    app.add_option("--timeout", arguments.timeout, "seconds that --wait waits")->capture_default_str();
}

void channel_options(CLI::App& app, Arguments& arguments)
{
    app.add_option("name", arguments.name, "the channel's name, as the extension opens it")->required();
    app.add_option("--send", arguments.messages, "a message to send, and no other: standard input is not read; may be there more than once")
        ->allow_extra_args(false);
    app.add_option("--receive", arguments.receive,
                   "N: end when so many messages have come and all are sent; without it, after --send at once, else with the domain")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--timeout", arguments.patience,
                   "SECONDS in all; with it, nobody at the other end is waited for, too");
    app.add_flag("--hex", arguments.hex, "messages are pairs of hexadecimal digits, in and out; without it, lines of text");
}

void list_options(CLI::App& app, Arguments& arguments)
{
    app.add_flag("-l,--long", arguments.long_form, "everything that is known, as JSON");
}

void dmesg_options(CLI::App& app, Arguments& arguments)
{
    app.add_flag("-f,--follow", arguments.follow, "go on as messages come");
    app.add_flag("-c,--clear", arguments.clear, "clear the log once it is shown");
}

void rename_options(CLI::App& app, Arguments& arguments)
{
    app.add_option("name", arguments.name, "the new name")->required();
}

void trigger_options(CLI::App& app, Arguments& arguments)
{
    app.add_option("trigger", arguments.trigger, "nmi, or reset")->required();
    app.add_option("vcpu", arguments.vcpu, "the VCPU that gets the NMI")->capture_default_str();
}

void sign_options(CLI::App& app, Arguments& arguments)
{
    app.add_option("-k,--key", arguments.key, "the secret key's file, as ext-keygen made it")->required();
}

void verify_options(CLI::App& app, Arguments& arguments)
{
    app.add_option("-k,--key", arguments.keys,
                   "a public key's file; once there is one, only a signature by one of them will do")
        ->allow_extra_args(false);
}

void exits_options(CLI::App& app, Arguments& arguments)
{
    app.add_flag("--compare", arguments.compare, "before and after the last swap of an extension, side by side");
}

void extension_options(CLI::App& app, Arguments& arguments)
{
    app.add_option("extension", arguments.name, "the extension's name in the domain's stack")->required();
}

void attach_options(CLI::App& app, Arguments& arguments)
{
    app.add_option("extension", arguments.name, "the extension's name")->required();
    app.add_option("params", arguments.settings,
                   "KEY=VALUE, as under \"params\" of a config; VALUE is JSON if it parses as such, else a string");
    app.add_option("--placement", arguments.placement, "isolated, or trusted");
    app.add_option("--on-fault", arguments.on_fault, "restart, detach, pause or crash");
}

std::map<std::string, unsigned> swap_steps()
{
    using enum protocol::SwapStepNumber;
    const auto number = [](protocol::SwapStepNumber step) { return static_cast<unsigned>(step); };
    return {{"create", number(create)},           {"offer", number(offer)},
            {"trial-export", number(trial_export)}, {"trial-import", number(trial_import)},
            {"stop", number(stop)},               {"final-export", number(final_export)},
            {"final-import", number(final_import)}, {"publish", number(publish)}};
}

void swap_options(CLI::App& app, Arguments& arguments)
{
    app.add_option("old", arguments.name, "the extension's name in the domain's stack")->required();
    app.add_option("new", arguments.file, "a file where it holds a /, else the name of a loaded module");
    app.add_flag("-n,--dry-run", arguments.dry_run, "judge and try the new module on a copy, and stop nothing");
    app.add_option("--rollback-after", arguments.rollback_after,
                   "SECONDS of probation: if the new module fails within them, the old one takes its place again, whatever onFault says");
    app.add_option("--fail-at", arguments.fail_at, "let a step fail, to see that the guest goes on with the old module: create, "
                   "offer, trial-export, trial-import, stop, final-export, final-import or publish")
        ->transform(CLI::CheckedTransformer(swap_steps()));
    app.add_flag("--all", arguments.all, "in every domain that has OLD; then no domain is named");
}

void report_options(CLI::App& app, Arguments& arguments)
{
    app.add_option("extension", arguments.name, "only failures of this extension");
    app.add_flag("-a,--all", arguments.all, "every report that is kept, not the newest alone; JSON always has all");
    app.add_option("-c,--core", arguments.core, "write the memory of the instance that failed last to this file, as an ELF core for gdb");
}

constexpr Verb verbs[]{
    {"create", "make a domain from a config and start it", Operand::config, run_create, create_options},
    {"validate", "check a config and do nothing", Operand::config, run_validate, set_option},
    {"list", "show the domains", Operand::optional_domain, run_list, list_options},
    {"destroy", "end a domain at once and free what it has", Operand::domain, run_destroy, no_options},
    {"shutdown", "press a domain's ACPI power button", Operand::domain, run_shutdown, wait_options},
    {"reboot", "press the power button, and start the domain again once it is off", Operand::domain,
     run_reboot, wait_options},
    {"pause", "stop a domain's VCPUs and its time", Operand::domain, run_pause, no_options},
    {"unpause", "let a paused domain run", Operand::domain, run_unpause, no_options},
    {"console", "attach to a domain's console; Ctrl-] leaves", Operand::domain, run_console_verb, no_options},
    {"channel", "send messages to an extension of a domain, and print those that come, a line for each", Operand::domain, run_channel_verb,
     channel_options},
    {"info", "show the machine and the hypervisor", Operand::none, run_info, no_options},
    {"dmesg", "show the hypervisor's log", Operand::none, run_dmesg, dmesg_options},
    {"vcpu-list", "show VCPUs", Operand::optional_domain, run_vcpu_list, no_options},
    {"domid", "show a domain's number", Operand::domain, run_domid, no_options},
    {"domname", "show a domain's name", Operand::domain, run_domname, no_options},
    {"rename", "give a domain another name", Operand::domain, run_rename, rename_options},
    {"uptime", "show how long domains have been there", Operand::optional_domain, run_uptime, no_options},
    {"trigger", "send a domain an NMI or a reset", Operand::domain, run_trigger, trigger_options},
    {"exits", "show a domain's exits by reason, MSR and port", Operand::domain, run_exits, exits_options},
    {"ext-load", "load an extension module", Operand::module_file, run_ext_load, no_options},
    {"ext-unload", "unload an extension module that no domain has", Operand::module_name, run_ext_unload,
     no_options},
    {"ext-attach", "put an extension under a running domain, and into its config", Operand::domain, run_ext_attach,
     attach_options},
    {"ext-detach", "take an extension from a running domain, and out of its config", Operand::domain, run_ext_detach,
     extension_options},
    {"ext-swap", "swap an extension of a running domain for another module", Operand::domain, run_ext_swap,
     swap_options},
    {"ext-rollback", "swap an extension back to the module before the last swap", Operand::domain,
     run_ext_rollback, extension_options},
    {"ext-inspect", "show the state of a domain's extension as JSON", Operand::domain, run_ext_inspect,
     extension_options},
    {"ext-report", "show what is kept of extensions of a domain that failed: where, registers, calls, last events",
     Operand::domain, run_ext_report, report_options},
    {"ext-list", "show the loaded extension modules", Operand::none, run_ext_list, list_options},
    {"ext-verify", "check a module's file as the hypervisor would, and say who signed it; needs no hypervisor",
     Operand::module_file, run_ext_verify, verify_options},
    {"ext-keygen", "make a pair of keys to sign modules with, NAME.key and NAME.pub; needs no hypervisor",
     Operand::key_name, run_ext_keygen, no_options},
    {"ext-sign", "sign a module's file: writes MODULE.sig beside it; needs no hypervisor", Operand::module_file,
     run_ext_sign, sign_options},
};

void add_operand(CLI::App& app, Operand operand, Arguments& arguments)
{
    switch (operand) {
    case Operand::none: return;
    case Operand::config: app.add_option("config", arguments.file, "the domain's config")->required(); return;
    case Operand::module_file:
        app.add_option("module", arguments.file, "the module's file, or its name in the folder of modules")
            ->required();
        return;
    case Operand::module_name:
        app.add_option("module", arguments.name, "the module's name")->required();
        return;
    case Operand::key_name:
        app.add_option("name", arguments.file, "what the two files' names begin with, a path if it holds a slash")
            ->required();
        return;
    case Operand::domain:
        app.add_option("domain", arguments.domain, "name, number or UUID")->required();
        return;
    case Operand::optional_domain: app.add_option("domain", arguments.domain, "name, number or UUID"); return;
    }
}

void add_output_option(CLI::App& app, Arguments& arguments)
{
    app.add_option_function<std::string>(
           "-o,--output", [&arguments](const std::string& format) { arguments.json = format == "json"; },
           "json: for programs; text: for people")
        ->check(CLI::IsMember({"json", "text"}));
}

void add_verb(CLI::App& app, const Verb& verb, Arguments& arguments, const Verb*& chosen)
{
    CLI::App* const one{app.add_subcommand(verb.name, verb.help)};
    add_operand(*one, verb.operand, arguments);
    verb.options(*one, arguments);
    add_output_option(*one, arguments);
    one->footer(exit_codes());
    one->fallthrough();
    one->callback([&chosen, &verb] { chosen = &verb; });
}

/// Asked of the raw words, for errors that the parser finds before it has seen all of them.
bool asks_for_json(int argc, char** argv)
{
    for (int i = 1; i < argc; ++i) {
        const std::string_view word{argv[i]};
        const std::string_view next{i + 1 < argc ? argv[i + 1] : ""};
        if (word == "-ojson" || word == "--output=json" ||
            ((word == "-o" || word == "--output") && next == "json"))
            return true;
    }
    return false;
}

/// A word that is no verb, with the nearest one.
std::optional<Problem> wrong_verb(int argc, char** argv)
{
    std::vector<std::string> names;
    for (const Verb& verb : verbs)
        names.emplace_back(verb.name);
    for (int i = 1; i < argc; ++i) {
        const std::string word{argv[i]};
        if (word == "--socket" || word == "--extensions" || word == "-o" || word == "--output") {
            ++i;
            continue;
        }
        if (word.starts_with("-"))
            continue;
        if (std::find(names.begin(), names.end(), word) != names.end())
            return std::nullopt;
        return Problem{"there is no verb \"" + word + "\"", {}, nearest_name(word, names)};
    }
    return std::nullopt;
}

int report(const Failure& failure, bool json, const std::string& file)
{
    if (json)
        std::fputs(json_text(failure_output(failure)).c_str(), stdout);
    else
        std::fputs(failure_text(failure, file).c_str(), stderr);
    std::fflush(stdout);
    return static_cast<int>(failure.code());
}

int run_verb(const Verb& verb, const Arguments& arguments)
{
    const std::string file{verb.operand == Operand::config ? arguments.file : ""};
    try {
        return static_cast<int>(verb.run(arguments));
    } catch (const Failure& failure) {
        return report(failure, arguments.json, file);
    } catch (const std::exception& error) {
        return report({ExitCode::failed, error.what()}, arguments.json, file);
    }
}

}  // namespace

void print(const std::string& text)
{
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
        throw Failure{ExitCode::failed, "cannot write to standard output"};
}

bool output_is_terminal()
{
    return ::isatty(STDOUT_FILENO) == 1;
}

std::string verb_reference()
{
    std::string text{"| verb | does |\n| --- | --- |\n"};
    for (const Verb& verb : verbs) {
        Arguments arguments;
        CLI::App app;
        add_operand(app, verb.operand, arguments);
        verb.options(app, arguments);
        std::string words;
        std::string options;
        for (const CLI::Option* const option : app.get_options()) {
            if (option == app.get_help_ptr())
                continue;
            const std::string name{option->get_name()};
            if (option->get_positional())
                words += option->get_required() ? " " + name : " [" + name + "]";
            else
                options += "; `" + option->get_name(false, true) + "` " + option->get_description();
        }
        text += "| `" + std::string{verb.name} + words + "` | " + verb.help + options + " |\n";
    }
    text += "\n| exit code | means |\n| --: | --- |\n";
    for (const ExitMeaning& one : exit_meanings)
        text += "| " + std::to_string(static_cast<int>(one.code)) + " | " + one.text + " |\n";
    return text;
}

int run_xl(int argc, char** argv)
{
    std::signal(SIGPIPE, SIG_IGN);
    Arguments arguments;
    const Verb* chosen{};
    CLI::App app{"xl: makes and runs Graft's domains", "xl"};
    app.require_subcommand(1);
    app.footer(exit_codes());
    app.add_option("--socket", arguments.socket, "where xld listens")->capture_default_str();
    app.add_option("--extensions", arguments.extensions_folder, "where NAME.hvx is looked for")
        ->capture_default_str();
    add_output_option(app, arguments);
    for (const Verb& verb : verbs)
        add_verb(app, verb, arguments, chosen);
    const bool json{asks_for_json(argc, argv)};
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& help) {
        return app.exit(help);
    } catch (const CLI::ParseError& error) {
        const auto problem = wrong_verb(argc, argv);
        return report({ExitCode::bad_text, problem.value_or(Problem{error.what(), {}, {}})}, json, {});
    }
    return run_verb(*chosen, arguments);
}

}  // namespace hv::xl

// SPDX-License-Identifier: MIT
//
// How xl and xld say that something was not done: what is wrong, where, what was probably meant, and the exit
// code that xl promises for it.  A Failure travels from xld to xl unchanged, so that a refusal of the
// hypervisor reaches the operator word for word.
#pragma once

#include <exception>
#include <string>
#include <vector>

namespace hv::xl {

/// The exit codes of xl; they are part of its interface.
enum class ExitCode : int {
    done = 0,
    failed = 1,
    bad_text = 2,
    not_found = 3,
    not_granted = 4,
    timed_out = 5,
    not_connected = 6,
};

/// One thing that is wrong.  `pointer` is a JSON pointer into the config, or empty; `suggestion` a name, or
/// empty.
struct Problem {
    std::string message;
    std::string pointer;
    std::string suggestion;

    friend bool operator==(const Problem&, const Problem&) = default;
};

/// What is thrown where an operation ends without having been done.  Holds at least one problem.
class Failure : public std::exception {
public:
    Failure(ExitCode code, std::string message);
    Failure(ExitCode code, Problem problem);
    Failure(ExitCode code, std::vector<Problem> problems);

    [[nodiscard]] ExitCode code() const { return code_; }
    [[nodiscard]] const std::vector<Problem>& problems() const { return problems_; }
    [[nodiscard]] const char* what() const noexcept override { return problems_.front().message.c_str(); }

private:
    ExitCode code_;
    std::vector<Problem> problems_;
};

/// True for the numbers of ExitCode.
[[nodiscard]] bool is_exit_code(long long number);

}  // namespace hv::xl

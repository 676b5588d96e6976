// SPDX-License-Identifier: MIT
//
// The constructors of Failure.
#include "base/failure.hpp"

#include <utility>

namespace hv::xl {

Failure::Failure(ExitCode code, std::string message) : Failure{code, Problem{std::move(message), {}, {}}} {}

Failure::Failure(ExitCode code, Problem problem) : code_{code}
{
    problems_.push_back(std::move(problem));
}

Failure::Failure(ExitCode code, std::vector<Problem> problems) : code_{code}, problems_{std::move(problems)}
{
    if (problems_.empty())
        problems_.push_back({"failed, and no reason was given", {}, {}});
}

bool is_exit_code(long long number)
{
    return number >= static_cast<int>(ExitCode::done) && number <= static_cast<int>(ExitCode::not_connected);
}

}  // namespace hv::xl

// SPDX-License-Identifier: MIT
//
// The one place that sees spdlog.
#include "daemon/log.hpp"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>

namespace hv::xl {
namespace {

std::shared_ptr<spdlog::logger>& logger()
{
    static std::shared_ptr<spdlog::logger> one{
        std::make_shared<spdlog::logger>("xld", std::make_shared<spdlog::sinks::null_sink_st>())};
    return one;
}

}  // namespace

void open_log(const std::string& path)
{
    if (path.empty())
        return;
    try {
        logger() = std::make_shared<spdlog::logger>(
            "xld", std::make_shared<spdlog::sinks::basic_file_sink_st>(path));
    } catch (const spdlog::spdlog_ex& error) {
        logger() = spdlog::default_logger();
        logger()->warn("cannot write {}: {}", path, error.what());
    }
    logger()->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
    logger()->flush_on(spdlog::level::info);
}

void log_info(const std::string& text)
{
    logger()->info("{}", text);
}

void log_warning(const std::string& text)
{
    logger()->warn("{}", text);
}

void log_error(const std::string& text)
{
    logger()->error("{}", text);
}

}  // namespace hv::xl

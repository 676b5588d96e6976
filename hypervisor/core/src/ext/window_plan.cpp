// SPDX-License-Identifier: MIT
#include "window_plan.hpp"

#include "hv/core/ext/module_registry.hpp"

namespace hv::core {
namespace {

/// The bind fails where it cannot have just this place.
constexpr bool is_demand(const abi::WindowRequest& request)
{
    return (request.flags & abi::window_fixed) != 0 && (request.flags & abi::window_optional) == 0;
}

}  // namespace

/// The map as it will be, with windows that only keep their places.
struct WindowPlan::Draft {
    WindowMap map{};
    Window windows[maximum_modules][PlannedWindows::maximum]{};
};

Expected<PlannedWindows::Place> PlannedWindows::choose(const WindowMap& map, const abi::WindowRequest& request,
                                                       std::string_view asker, TextWriter& why)
{
    BoundedText<200> reason;
    const auto base = map.choose(request, asker, reason);
    if (base)
        return Place{true, base.value()};
    if ((request.flags & abi::window_optional) != 0)
        return Place{};
    why.append(reason.view());
    return base.error();
}

Status WindowPlan::decide(Heap& heap, std::span<Module* const> modules, std::size_t& culprit, TextWriter& why)
{
    const auto draft = make<Draft>(heap);
    if (!draft) {
        say(why, "not enough memory to place the windows of the extensions");
        return draft.error();
    }
    for (const Module* const module : modules)
        HV_ASSERT(rows_.push_back({module->generation(), {}}));
    for (const bool demands : {true, false})
        for (std::size_t position = 0; position < modules.size(); ++position) {
            culprit = position;
            HV_TRY(place(*draft.value(), position, demands, *modules[position], why));
        }
    return Done{};
}

Status WindowPlan::place(Draft& draft, std::size_t position, bool demands, const Module& module, TextWriter& why)
{
    for (std::uint32_t index = 0; index < module.manifest().window_count; ++index) {
        const abi::WindowRequest request = module.verified().window(index);
        if (is_demand(request) != demands)
            continue;
        PlannedWindows::Place& planned = rows_[position].places[index];
        planned = HV_TRY(PlannedWindows::choose(draft.map, request, module.name(), why));
        if (!planned.granted)
            continue;
        Window& window = draft.windows[position][index];
        window.owner = module.name();
        window.kind = request.kind;
        window.base = planned.base;
        window.length = request.length;
        window.match = request.hypercall;
        HV_TRY(draft.map.enter(window, why));
    }
    return Done{};
}

}  // namespace hv::core

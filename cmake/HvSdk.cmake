# SPDX-License-Identifier: MIT
#
# The SDK: `cmake --install BUILD --component sdk --prefix PREFIX`, then find_package(GraftExtension) from anywhere.  Headers
# and linker step, the harness that our own extensions' tests use with the loader under it, and a template to start from.
set(sdk share/GraftExtension)
install(DIRECTORY extension-api/include extension-api/src extension-api/cmake tests/sdk/template
    DESTINATION ${sdk} COMPONENT sdk)
install(FILES extension-api/CHANGELOG.md LICENSE DESTINATION ${sdk} COMPONENT sdk)
install(DIRECTORY loader/include loader/src DESTINATION ${sdk}/loader COMPONENT sdk)
install(FILES tests/fake/fake_host.hpp tests/fake/fake_host.cpp tests/fake/module_under_test.hpp
    tests/fake/module_under_test.cpp tests/fake/rules.hpp tests/fake/rules_gtest.cpp tests/fake/rules_abort.cpp
    tests/fake/panic.cpp DESTINATION ${sdk}/harness COMPONENT sdk)

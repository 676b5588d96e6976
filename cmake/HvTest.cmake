# SPDX-License-Identifier: MIT
#
# hv_add_test(NAME SOURCES file... LIBRARIES target...): one GoogleTest program, sanitized, registered with ctest.
# The sources are an explicit list: a forgotten file is a visible omission, an empty discovery is not.
function(hv_add_test name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
    if(NOT ARG_SOURCES)
        message(FATAL_ERROR "hv_add_test(${name}) names no sources")
    endif()
    add_executable(${name} ${ARG_SOURCES})
    target_link_libraries(${name} PRIVATE hv_hosted ${ARG_LIBRARIES} gtest_main gtest pthread)
    if(TARGET hv_test_headers)
        target_precompile_headers(${name} REUSE_FROM hv_test_headers)
    endif()
    add_test(NAME ${name} COMMAND ${name})
endfunction()

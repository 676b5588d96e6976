# SPDX-License-Identifier: MIT
#
# Tests of an extension from the installed SDK: the very NAME.hvx that hv_add_extension(NAME ...) makes, in a host process
# against a fake hypervisor (harness/module_under_test.hpp, harness/fake_host.hpp).  HVX_FILE names the file.
#   hv_add_extension_test(TEST EXTENSION name SOURCES file...)     a GoogleTest program under ASan and UBSan, known to ctest
#   hv_add_extension_fuzzer(FUZZER EXTENSION name SOURCES file...) a libFuzzer program; the compiler has to be clang
# The harness is compiled here from its sources, so that it has the compiler and the sanitizers of its user.
file(GLOB HV_HARNESS_SOURCES CONFIGURE_DEPENDS
    "${HV_EXTENSION_SDK}/harness/*.cpp" "${HV_EXTENSION_SDK}/loader/src/*.cpp" "${HV_EXTENSION_SDK}/loader/src/*/*.cpp")

function(hv_add_harness name rules)
    if(TARGET ${name})
        return()
    endif()
    set(sources ${HV_HARNESS_SOURCES})
    list(FILTER sources EXCLUDE REGEX "/harness/rules_[a-z]+\\.cpp$")
    add_library(${name} STATIC ${sources} "${HV_EXTENSION_SDK}/harness/rules_${rules}.cpp")
    target_include_directories(${name} PUBLIC "${HV_EXTENSION_SDK}/include" "${HV_EXTENSION_SDK}/harness"
        "${HV_EXTENSION_SDK}/loader/include" PRIVATE "${HV_EXTENSION_SDK}/loader/src")
    target_compile_features(${name} PUBLIC cxx_std_20)
    target_compile_options(${name} PUBLIC -g -O1 -fno-omit-frame-pointer ${ARGN})
    target_link_options(${name} PUBLIC ${ARGN})
endfunction()

function(hv_use_extension target)
    cmake_parse_arguments(ARG "" "EXTENSION" "SOURCES" ${ARGN})
    if(NOT TARGET hvx_${ARG_EXTENSION})
        message(FATAL_ERROR "${target}: EXTENSION '${ARG_EXTENSION}' is not one that hv_add_extension() made")
    endif()
    get_target_property(file hvx_${ARG_EXTENSION} HVX_FILE)
    add_executable(${target} ${ARG_SOURCES})
    target_compile_definitions(${target} PRIVATE HVX_FILE="${file}")
    add_dependencies(${target} hvx_${ARG_EXTENSION})
endfunction()

function(hv_add_extension_test target)
    find_package(GTest REQUIRED)
    hv_add_harness(hv_extension_harness gtest -fsanitize=address,undefined -fno-sanitize-recover=all)
    target_link_libraries(hv_extension_harness PUBLIC GTest::gtest)
    hv_use_extension(${target} ${ARGN})
    target_link_libraries(${target} PRIVATE hv_extension_harness GTest::gtest_main)
    add_test(NAME ${target} COMMAND ${target})
endfunction()

function(hv_add_extension_fuzzer target)
    if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
        message(FATAL_ERROR "${target}: libFuzzer comes with clang, and the compiler is ${CMAKE_CXX_COMPILER_ID}")
    endif()
    hv_add_harness(hv_extension_fuzz_harness abort -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
    hv_use_extension(${target} ${ARGN})
    target_link_libraries(${target} PRIVATE hv_extension_fuzz_harness)
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
endfunction()

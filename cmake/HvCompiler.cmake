# SPDX-License-Identifier: MIT
#
# Compiler flags as interface targets, so that a library says what it is and inherits the rest:
#   hv_warnings       the warnings, all errors            hv_hosted        an ordinary program, sanitized if asked
#   hv_freestanding   what hypervisor and modules share   hv_kernel        the hypervisor's own code model
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS ON)

add_library(hv_warnings INTERFACE)
target_compile_options(hv_warnings INTERFACE -Wall -Wextra -Werror
    $<$<COMPILE_LANGUAGE:CXX>:-Wconversion -Wshadow -Wold-style-cast -Wnon-virtual-dtor>)

# clang's limit is too low for what is proved by looking at every port.
target_compile_options(hv_warnings INTERFACE $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-fconstexpr-steps=16777216>)

add_library(hv_hosted INTERFACE)
target_link_libraries(hv_hosted INTERFACE hv_warnings)
if(HV_SANITIZE)
    target_compile_options(hv_hosted INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all
        -fno-omit-frame-pointer)
    target_link_options(hv_hosted INTERFACE -fsanitize=address,undefined)
endif()
if(HV_BUILD STREQUAL "fuzz")  # so that a fuzzer sees the branches of whatever it calls
    target_compile_options(hv_hosted INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Two clones build the same bytes: files of the tree are named relative to it, in assertions as in debugging information, also
# where a compiler cache hands the compiler names relative to the build's folder; what is generated is named by the word
# "build".  Of two prefixes that match, the compiler takes the later one.
file(RELATIVE_PATH HV_WAY_TO_SOURCE "${CMAKE_BINARY_DIR}" "${CMAKE_SOURCE_DIR}")
set(HV_RELATIVE_NAMES -ffile-prefix-map=${CMAKE_SOURCE_DIR}/= -ffile-prefix-map=${CMAKE_BINARY_DIR}=build
    -ffile-prefix-map=${HV_WAY_TO_SOURCE}=)

# General registers only: guests' FPU state stays in the registers while the hypervisor runs.  The flag set is the
# one that both g++ 12 and clang 14 accept with libstdc++'s freestanding-usable headers.
add_library(hv_freestanding INTERFACE)
target_link_libraries(hv_freestanding INTERFACE hv_warnings)
target_compile_options(hv_freestanding INTERFACE -ffreestanding -mno-sse -mno-mmx -mno-red-zone
    ${HV_RELATIVE_NAMES} -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none -fno-strict-overflow
    $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions -fno-rtti -fno-threadsafe-statics -fno-use-cxa-atexit>)

add_library(hv_kernel INTERFACE)
target_link_libraries(hv_kernel INTERFACE hv_freestanding)
target_compile_options(hv_kernel INTERFACE -mcmodel=kernel -fno-pic -fno-pie -fno-omit-frame-pointer
    -mno-omit-leaf-frame-pointer -O2 -fno-jump-tables)

# A portable library is compiled as kernel code in the target build and as sanitized host code elsewhere.
add_library(hv_portable INTERFACE)
if(HV_BUILD STREQUAL "target")
    target_link_libraries(hv_portable INTERFACE hv_kernel)
else()
    target_link_libraries(hv_portable INTERFACE hv_hosted)
endif()

# Adds a folder that has a CMakeLists.txt; a clone from which a folder was removed still builds the rest.  A macro, so that what
# the folder sets for its parent gets there.
macro(hv_add_subdirectory_if_present folder)
    if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${folder}/CMakeLists.txt")
        add_subdirectory(${folder})
    endif()
endmacro()

# SPDX-License-Identifier: MIT
#
# hv_add_extension(NAME name SOURCES file... [INCLUDE folder...] [DEFINE name=value...] [FOLDER folder] [TARGET name]): one
# extension module, NAME.hvx in that folder or in ${CMAKE_BINARY_DIR}/extensions/NAME, from the public headers alone; the
# build knows it as hvx_TARGET, or hvx_NAME.  Works in this tree and from an installed SDK: nothing here refers to the rest of the project.  The flags are chosen so that a module needs three kinds of
# relocation and no symbol of anybody's (docs/extensions.md); both are checked after the link.
get_filename_component(HV_EXTENSION_SDK "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
set(HV_EXTENSION_SDK "${HV_EXTENSION_SDK}" CACHE INTERNAL "where include/, src/ and cmake/ of the extension API are")

set(HV_EXTENSION_FLAGS
    -std=gnu++20 -O2 -g0 -ffreestanding -mno-sse -mno-mmx -mno-80387 -mno-red-zone
    -mcmodel=small -fpie -fvisibility=hidden -fno-jump-tables
    -fno-exceptions -fno-rtti -fno-threadsafe-statics -fno-use-cxa-atexit
    -fno-stack-protector -fno-asynchronous-unwind-tables -fno-unwind-tables -fcf-protection=none
    -fno-common -fno-gnu-unique -fno-strict-overflow -fno-omit-frame-pointer
    -Wall -Wextra -Werror -Wconversion -Wshadow -Wold-style-cast -Wnon-virtual-dtor)
# clang 14 with libstdc++ 12 refuses some standard headers with -mno-80387; without SSE and MMX nothing uses the FPU.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    list(REMOVE_ITEM HV_EXTENSION_FLAGS -mno-80387 -fno-gnu-unique)
endif()
set(HV_EXTENSION_FLAGS "${HV_EXTENSION_FLAGS}" CACHE INTERNAL "how a module is compiled")

# GNU ld alone dissolves section groups in a relocatable link; clang's default linker does not.
find_program(HV_GNU_LD NAMES ld.bfd ld REQUIRED)
find_program(HV_STRIP NAMES strip llvm-strip REQUIRED)

function(hv_add_extension)
    cmake_parse_arguments(ARG "" "NAME;FOLDER;TARGET" "SOURCES;INCLUDE;DEFINE" ${ARGN})
    if(NOT ARG_NAME MATCHES "^[a-z][a-z0-9-]*$")
        message(FATAL_ERROR "hv_add_extension: NAME '${ARG_NAME}' is not of a-z, 0-9 and '-'")
    endif()
    if(NOT ARG_SOURCES)
        message(FATAL_ERROR "hv_add_extension(${ARG_NAME}) names no SOURCES")
    endif()

    if(NOT ARG_TARGET)
        set(ARG_TARGET ${ARG_NAME})
    endif()
    set(objects hvx_${ARG_TARGET}_objects)
    add_library(${objects} OBJECT ${ARG_SOURCES}
        "${HV_EXTENSION_SDK}/src/freestanding.cpp" "${HV_EXTENSION_SDK}/src/module_runtime.cpp")
    set_target_properties(${objects} PROPERTIES
        POSITION_INDEPENDENT_CODE OFF INTERPROCEDURAL_OPTIMIZATION OFF CXX_STANDARD 20 CXX_EXTENSIONS ON)
    target_include_directories(${objects} PRIVATE "${HV_EXTENSION_SDK}/include" ${ARG_INCLUDE})
    target_compile_definitions(${objects} PRIVATE ${ARG_DEFINE})
    # The tree's own files are named relative to it, so that two clones build the same bytes.
    target_compile_options(${objects} PRIVATE ${HV_EXTENSION_FLAGS}
        -ffile-prefix-map=${CMAKE_SOURCE_DIR}/= -ffile-prefix-map=${HV_EXTENSION_SDK}/=extension-api/)
    set_source_files_properties("${HV_EXTENSION_SDK}/src/freestanding.cpp" TARGET_DIRECTORY ${objects}
        PROPERTIES COMPILE_OPTIONS "-fno-builtin")

    set(folder "${CMAKE_BINARY_DIR}/extensions/${ARG_NAME}")
    if(ARG_FOLDER)
        set(folder "${ARG_FOLDER}")
    endif()
    set(module "${folder}/${ARG_NAME}.hvx")
    set(script "${HV_EXTENSION_SDK}/cmake/module.ld")
    set(checker "${HV_EXTENSION_SDK}/cmake/check_module.cmake")
    file(MAKE_DIRECTORY "${folder}")
    add_custom_command(OUTPUT "${module}"
        COMMAND ${HV_GNU_LD} -r --force-group-allocation -nostdlib -z noexecstack -T "${script}"
                -o "${module}.part" "$<TARGET_OBJECTS:${objects}>"
        COMMAND ${HV_STRIP} --strip-debug "${module}.part"
        COMMAND ${CMAKE_COMMAND} -DMODULE=${module}.part -DREADELF=${CMAKE_READELF} -DNM=${CMAKE_NM} -P "${checker}"
        COMMAND ${CMAKE_COMMAND} -E rename "${module}.part" "${module}"
        DEPENDS ${objects} "$<TARGET_OBJECTS:${objects}>" "${script}" "${checker}"
        COMMENT "Linking extension ${ARG_NAME}.hvx" COMMAND_EXPAND_LISTS VERBATIM)
    add_custom_target(hvx_${ARG_TARGET} ALL DEPENDS "${module}")
    set_target_properties(hvx_${ARG_TARGET} PROPERTIES HVX_FILE "${module}")
endfunction()

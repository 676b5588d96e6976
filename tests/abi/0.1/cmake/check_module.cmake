# SPDX-License-Identifier: MIT
#
# What a linked module must be, checked at build time with a sentence that says what to change: no undefined symbol, no
# relocation but R_X86_64_64, PC32 and PLT32, no static constructor, no thread-local data, one manifest.
function(run output)
    execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE text ERROR_VARIABLE errors RESULT_VARIABLE status)
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "${ARGN}: ${errors}")
    endif()
    set(${output} "${text}" PARENT_SCOPE)
endfunction()

run(undefined ${NM} --undefined-only --demangle ${MODULE})
if(NOT undefined STREQUAL "")
    message(FATAL_ERROR "${MODULE} uses symbols that nobody defines (a module links against nothing):\n${undefined}")
endif()

run(relocations ${READELF} --relocs --wide ${MODULE})
string(REGEX MATCHALL "R_X86_64_[A-Z0-9_]+" kinds "${relocations}")
list(REMOVE_DUPLICATES kinds)
list(REMOVE_ITEM kinds R_X86_64_64 R_X86_64_PC32 R_X86_64_PLT32)
if(kinds)
    message(FATAL_ERROR "${MODULE} needs relocations that the loader does not do: ${kinds} (see HV_EXTENSION_FLAGS)")
endif()

run(sections ${READELF} --section-headers --wide ${MODULE})
foreach(wrong IN ITEMS init_array fini_array ctors preinit_array tdata tbss)
    if(sections MATCHES "\\.${wrong}")
        message(FATAL_ERROR "${MODULE} has .${wrong}: static constructors and thread-local data do not exist in a module "
                            "(make the object constinit)")
    endif()
endforeach()
if(NOT sections MATCHES "\\.hv\\.manifest")
    message(FATAL_ERROR "${MODULE} has no manifest: HV_EXTENSION(Class) is missing")
endif()

# SPDX-License-Identifier: MIT
#
# Builds the tree's extensions a second time, from copies in another folder and the installed SDK, and holds their bytes
# against those of the tree's build.  -DBUILD= -DWORK= -DSOURCE= -DCOMPILER=
function(run)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE text ERROR_VARIABLE text)
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "${ARGN}:\n${text}")
    endif()
endfunction()

file(REMOVE_RECURSE "${WORK}")
run(${CMAKE_COMMAND} --install "${BUILD}" --component sdk --prefix "${WORK}/prefix")
file(COPY "${SOURCE}/extensions" "${SOURCE}/tests/sdk/reproducible/CMakeLists.txt" DESTINATION "${WORK}/copy")
run(${CMAKE_COMMAND} -G Ninja -S "${WORK}/copy" -B "${WORK}/build" "-DCMAKE_PREFIX_PATH=${WORK}/prefix"
    "-DCMAKE_CXX_COMPILER=${COMPILER}")
run(${CMAKE_COMMAND} --build "${WORK}/build")
foreach(extension novell viridian xen-pv)
    set(file extensions/${extension}/${extension}.hvx)
    run(${CMAKE_COMMAND} -E compare_files "${WORK}/build/${file}" "${BUILD}/${file}")
endforeach()

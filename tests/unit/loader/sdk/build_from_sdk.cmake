# SPDX-License-Identifier: MIT
#
# Installs the SDK into a fresh folder, builds the small extension from it in another, and holds its bytes against those
# of the module that was built inside the tree.  -DBUILD= -DWORK= -DSOURCE= -DPROJECT= -DEXPECTED= -DCOMPILER=
function(run)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE text ERROR_VARIABLE text)
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "${ARGN}:\n${text}")
    endif()
endfunction()

file(REMOVE_RECURSE "${WORK}")
run(${CMAKE_COMMAND} --install "${BUILD}" --component sdk --prefix "${WORK}/prefix")
file(COPY "${SOURCE}" DESTINATION "${WORK}/vendor")
get_filename_component(file_name "${SOURCE}" NAME)
run(${CMAKE_COMMAND} -G Ninja -S "${PROJECT}" -B "${WORK}/build" "-DCMAKE_PREFIX_PATH=${WORK}/prefix"
    "-DCMAKE_CXX_COMPILER=${COMPILER}" "-DSOURCE=${WORK}/vendor/${file_name}")
run(${CMAKE_COMMAND} --build "${WORK}/build")
run(${CMAKE_COMMAND} -E compare_files "${WORK}/build/extensions/minimal/minimal.hvx" "${EXPECTED}")

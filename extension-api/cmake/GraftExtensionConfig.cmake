# SPDX-License-Identifier: MIT
#
# find_package(GraftExtension): the SDK as installed; hv_add_extension, hv_add_extension_test, hv_add_extension_fuzzer, and
# all that they need.
include("${CMAKE_CURRENT_LIST_DIR}/HvExtension.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/HvExtensionTest.cmake")

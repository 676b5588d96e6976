# SPDX-License-Identifier: MIT
#
# find_package(GraftExtension): the SDK as installed, hv_add_extension and all that it needs.
include("${CMAKE_CURRENT_LIST_DIR}/HvExtension.cmake")

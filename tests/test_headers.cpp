// SPDX-License-Identifier: MIT
//
// Empty: the precompiled headers of all tests are of this file's target.

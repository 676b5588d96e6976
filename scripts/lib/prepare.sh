# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Installs what is missing, builds what is stale and fetches the kernels, for a script that then runs something.
# GRAFT_PREPARED=1 in the environment says that the caller has done so: scripts/test prepares once for all its tests.

# shellcheck source-path=SCRIPTDIR
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
source "$ROOT/scripts/lib/packages.sh"
source "$ROOT/scripts/lib/build.sh"
source "$ROOT/scripts/lib/kernels.sh"

prepare_now() {
    local preset
    install_missing_packages
    fetch_kernels
    for preset in "$@"; do
        build_preset "$preset" || die "$preset does not build"
    done
}

# prepare PRESET...
prepare() {
    [[ -n ${GRAFT_PREPARED:-} ]] || under_build_lock prepare_now "$@"
}

# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What every script shares: where the tree and its build folder are, how progress is told (standard error: standard
# output belongs to what the user asked for), and the one lock under which anything in the build folder is changed.

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${GRAFT_BUILD:-$ROOT/build}

say() {
    printf '== %s\n' "$*" >&2
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit "${DIE_STATUS:-1}"
}

# need_value OPTION COUNT: ends with a usage error where an option is the last word of the command line.
need_value() {
    (( $2 > 1 )) || DIE_STATUS=2 die "$1 needs a value (--help tells more)"
}

# under_build_lock COMMAND...: runs COMMAND while no other script changes the build folder.
under_build_lock() {
    mkdir -p "$BUILD"
    (
        if ! flock --nonblock 9; then
            say "waiting for another run that prepares $BUILD"
            flock 9
        fi
        "$@" 9>&-
    ) 9>"$BUILD/.scripts.lock"
}

# as_root COMMAND...: runs COMMAND with the rights that installing packages takes.
as_root() {
    if (( EUID == 0 )); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -- "$@"
    else
        die "needs root or sudo for: $*"
    fi
}

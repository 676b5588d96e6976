# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Builds what is stale of the presets of CMakePresets.json.  The build folders are $BUILD/PRESET.

# build_preset PRESET: quiet where nothing is to be done, the compiler's words on standard error where something is.
build_preset() {
    local preset=$1 folder=$BUILD/$1
    if [[ ! -f $folder/build.ninja ]]; then
        say "configuring $preset"
        (cd "$ROOT" && cmake --preset "$preset" -B "$folder" </dev/null >&2) || return 1
    fi
    if ! ninja -C "$folder" -n 2>/dev/null | grep -q 'no work to do'; then
        say "building $preset"
        ninja -C "$folder" </dev/null >&2 || return 1
    fi
}

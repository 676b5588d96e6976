# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Installs the packages of packages.txt that are missing, and nothing else; asks the archive for its index only then.
# Never adds a foreign architecture: its index can fail, and every later `apt-get update` with it.

missing_packages() {
    local name status
    while read -r name; do
        [[ -z $name || $name == \#* ]] && continue
        status=$(dpkg-query --show --showformat='${db:Status-Status}' "$name" 2>/dev/null) || status=absent
        [[ $status == installed ]] || printf '%s\n' "$name"
    done < "$ROOT/scripts/lib/packages.txt"
}

update_package_index() {
    say "fetching Debian's package index"
    as_root apt-get update --quiet -o DPkg::Lock::Timeout=300 </dev/null >&2
}

install_missing_packages() {
    local missing
    mapfile -t missing < <(missing_packages)
    (( ${#missing[@]} > 0 )) || return 0
    update_package_index
    say "installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "${missing[@]}" </dev/null >&2
}

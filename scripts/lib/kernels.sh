# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Debian's stock kernels: the real packages behind linux-image-amd64 and linux-image-cloud-amd64, unpacked into
# $BUILD/kernels and never installed.  $BUILD/kernels/FLAVOUR is a link to the unpacked package of the archive's
# current version; a flavour that is current is kept, and one that is there is good enough without an index.  Beside each
# bzImage lies the ELF kernel that is packed in it, which is entered by its PVH note.

KERNEL_FLAVOURS=(amd64 cloud-amd64)

# Flavours that guests of some tests alone run, fetched when such a test asks (fetch_guest_kernels).  686 is of the i386
# archive, whose index is kept in a folder of the build's own: the machine's package manager never hears of it.
GUEST_FLAVOURS=(rt-amd64 686)
I386_APT=$BUILD/kernels/.apt-i386

# apt_for FLAVOUR: sets the words by which apt's programs work on the archive that the flavour is of.
apt_for() {
    APT_WORDS=(-o APT::Sandbox::User=root)  # not as apt's own user, whom a clone below /root is closed to
    [[ $1 == 686 ]] || return 0
    APT_WORDS+=(-o APT::Architecture=i386 -o APT::Architectures=i386 -o Acquire::Languages=none -o "Dir::State=$I386_APT/state"
        -o "Dir::State::status=$I386_APT/status" -o "Dir::Cache=$I386_APT/cache")
    mkdir -p "$I386_APT"/state/lists/partial "$I386_APT"/cache/archives/partial
    : > "$I386_APT/status"
}

# update_index_of FLAVOUR: of the i386 archive, an index that cannot be had is left out: another may name the package.
update_index_of() {
    if [[ $1 == 686 ]]; then
        say "fetching Debian's package index for i386"
        apt-get "${APT_WORDS[@]}" update --quiet </dev/null >&2 || say "not all of it can be had"
    else
        update_package_index
    fi
}

# Prints "PACKAGE VERSION" of the image that the flavour's meta package stands for; nothing without an index.
current_kernel_package() {
    apt-cache "${APT_WORDS[@]}" --no-all-versions show "linux-image-$1" 2>/dev/null | awk '
        /^Depends:/ {
            for (i = 2; i <= NF; i++)
                if ($i ~ /^linux-image-[0-9]/) {
                    name = $i
                    sub(/,$/, "", name)
                }
        }
        /^Version:/ { version = $2 }
        END { if (name != "") print name, version }'
}

# unpack_kernel PACKAGE VERSION FOLDER: leaves the unpacked package, with its modules' index, in FOLDER.
unpack_kernel() {
    local package=$1 version=$2 folder=$3 work deb status=0
    work=$(mktemp -d "$BUILD/kernels/.fetch.XXXXXX")
    say "fetching Debian's kernel $package $version"
    (cd "$work" && apt-get "${APT_WORDS[@]}" download --quiet "$package=$version" </dev/null >&2) &&
        deb=("$work"/*.deb) &&
        dpkg-deb --extract "${deb[0]}" "$work/unpacked" &&
        /sbin/depmod --basedir "$work/unpacked" "${package#linux-image-}" &&
        rm -rf "$folder" && mv "$work/unpacked" "$folder" || status=1
    rm -rf "$work"
    return "$status"
}

fetch_kernel() {
    local flavour=$1 package version folder old
    apt_for "$flavour"
    read -r package version < <(current_kernel_package "$flavour") || true
    if [[ -z $package ]]; then
        [[ -e $BUILD/kernels/$flavour ]] && return 0
        update_index_of "$flavour"
        read -r package version < <(current_kernel_package "$flavour") ||
            die "Debian's archive has no linux-image-$flavour"
    fi
    folder=${package}_${version//:/%}
    old=$(readlink "$BUILD/kernels/$flavour" || true)
    [[ $old == "$folder" && -d $BUILD/kernels/$folder ]] && return 0
    if ! unpack_kernel "$package" "$version" "$BUILD/kernels/$folder"; then
        # An index that is older than the archive names a file that is gone: one fresh index, one more try.
        update_index_of "$flavour"
        read -r package version < <(current_kernel_package "$flavour")
        folder=${package}_${version//:/%}
        unpack_kernel "$package" "$version" "$BUILD/kernels/$folder" ||
            die "cannot fetch linux-image-$flavour"
    fi
    ln -sfn "$folder" "$BUILD/kernels/.$flavour.new"
    mv -T "$BUILD/kernels/.$flavour.new" "$BUILD/kernels/$flavour"
    [[ -z $old || $old == "$folder" ]] || rm -rf "${BUILD:?}/kernels/$old"
}

fetch_kernels() {
    local flavour
    mkdir -p "$BUILD/kernels"
    for flavour in "${KERNEL_FLAVOURS[@]}"; do
        fetch_kernel "$flavour"
        [[ -f $(elf_kernel "$flavour") ]] && continue
        python3 "$ROOT/scripts/lib/unpack_kernel.py" "$(kernel_image "$flavour")" "$(elf_kernel "$flavour")" ||
            die "cannot unpack the kernel of linux-image-$flavour"
    done
}

# Fetches what GUEST_FLAVOURS names, and the busybox that a 32-bit kernel's first process is.
fetch_guest_kernels() {
    local flavour
    mkdir -p "$BUILD/kernels"
    for flavour in "${GUEST_FLAVOURS[@]}"; do
        fetch_kernel "$flavour"
    done
    [[ -f $(busybox_i386) ]] || fetch_busybox_i386
}

busybox_i386() {
    printf '%s\n' "$BUILD/kernels/busybox-i386"
}

fetch_busybox_i386() {
    local work deb
    apt_for 686
    work=$(mktemp -d "$BUILD/kernels/.fetch.XXXXXX")
    (cd "$work" && apt-get "${APT_WORDS[@]}" download --quiet busybox-static </dev/null >&2) ||
        die "cannot fetch busybox-static for i386"
    deb=("$work"/*.deb)
    dpkg-deb --extract "${deb[0]}" "$work/unpacked"
    mv "$work/unpacked/bin/busybox" "$(busybox_i386)"
    rm -rf "$work"
}

# elf_kernel FLAVOUR: where the unpacked kernel is, or will be.
elf_kernel() {
    local image
    image=$(kernel_image "$1")
    printf '%s\n' "${image/vmlinuz-/vmlinux-}"
}

kernel_image() {
    local images=("$BUILD/kernels/$1"/boot/vmlinuz-*)
    printf '%s\n' "${images[0]}"
}

kernel_release() {
    local image
    image=$(kernel_image "$1")
    printf '%s\n' "${image##*/vmlinuz-}"
}

# kernel_modules FLAVOUR MODULE...: the files of the modules and of all that they need, in the order to load them.
kernel_modules() {
    local flavour=$1 module
    shift
    for module in "$@"; do
        /sbin/modprobe --dirname "$BUILD/kernels/$flavour" --set-version "$(kernel_release "$flavour")" \
            --show-depends "$module" || return 1
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

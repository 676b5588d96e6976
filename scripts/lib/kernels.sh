# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Debian's stock kernels: the real packages behind linux-image-amd64 and linux-image-cloud-amd64, unpacked into
# $BUILD/kernels and never installed.  $BUILD/kernels/FLAVOUR is a link to the unpacked package of the archive's
# current version; a flavour that is current is kept, and one that is there is good enough without an index.  Beside each
# bzImage lies the ELF kernel that is packed in it, which is entered by its PVH note.

KERNEL_FLAVOURS=(amd64 cloud-amd64)

# Prints "PACKAGE VERSION" of the image that the flavour's meta package stands for; nothing without an index.
current_kernel_package() {
    apt-cache --no-all-versions show "linux-image-$1" 2>/dev/null | awk '
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
    # Not as apt's own user, whom a clone below /root is closed to.
    (cd "$work" && apt-get download --quiet -o APT::Sandbox::User=root "$package=$version" </dev/null >&2) &&
        deb=("$work"/*.deb) &&
        dpkg-deb --extract "${deb[0]}" "$work/unpacked" &&
        /sbin/depmod --basedir "$work/unpacked" "${package#linux-image-}" &&
        rm -rf "$folder" && mv "$work/unpacked" "$folder" || status=1
    rm -rf "$work"
    return "$status"
}

fetch_kernel() {
    local flavour=$1 package version folder old
    read -r package version < <(current_kernel_package "$flavour") || true
    if [[ -z $package ]]; then
        [[ -e $BUILD/kernels/$flavour ]] && return 0
        update_package_index
        read -r package version < <(current_kernel_package "$flavour") ||
            die "Debian's archive has no linux-image-$flavour"
    fi
    folder=${package}_${version//:/%}
    old=$(readlink "$BUILD/kernels/$flavour" || true)
    [[ $old == "$folder" && -d $BUILD/kernels/$folder ]] && return 0
    if ! unpack_kernel "$package" "$version" "$BUILD/kernels/$folder"; then
        # An index that is older than the archive names a file that is gone: one fresh index, one more try.
        update_package_index
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

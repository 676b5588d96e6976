# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# The initramfs of dom0 and that of the Linux test guests: busybox, the kernel's own modules, an init of ours
# (scripts/image), and for dom0 what the build made.  Written for one run into that run's folder, so there is nothing
# to keep current.  Not compressed: an emulated processor copies faster than it unpacks.

# What dom0's kernel needs for the ports by which it is spoken to; everything else is built into it.
DOM0_MODULES=(virtio virtio_ring virtio_pci virtio_console)

# pack_tree FOLDER ARCHIVE: a cpio newc archive of a folder, owned by root, with the same bytes for the same files.
pack_tree() {
    find "$1" -mindepth 1 -exec touch --no-dereference --date=@0 {} +
    (cd "$1" && find . -mindepth 1 -print0 | LC_ALL=C sort --zero-terminated |
        cpio --null --create --quiet --reproducible --format=newc --owner=0:0) > "$2"
}

# add_busybox TREE [BUSYBOX]: the programs of an initramfs; their names are made as links by `busybox --install` at boot.
add_busybox() {
    mkdir -p "$1"/{bin,sbin,usr/bin,usr/sbin,etc,dev,proc,sys,run,tmp,root,var/log}
    install -m 0755 "${2:-/bin/busybox}" "$1/bin/busybox"
    ln -s busybox "$1/bin/sh"
    printf 'root:x:0:0:root:/root:/bin/sh\n' > "$1/etc/passwd"
    printf 'root:x:0:\ntty:x:5:\ngraft:x:900:\n' > "$1/etc/group"
}

# What a test guest's kernel needs to be told of its power button.
GUEST_MODULES=(button evdev)

# add_modules TREE FLAVOUR MODULE...: the modules, and at the end of /etc/modules.order the paths to load one after the other.
add_modules() {
    local tree=$1 flavour=$2 files file path
    shift 2
    files=$(kernel_modules "$flavour" "$@") || die "the kernel package lacks one of the modules $*"
    while read -r file; do
        path=/lib/${file#*/lib/}
        install -D -m 0644 "$file" "$tree$path"
        printf '%s\n' "$path"
    done <<< "$files" >> "$tree/etc/modules.order"
}

# install_present MODE FOLDER FILE...: copies those of the files that exist.
install_present() {
    local mode=$1 folder=$2 file
    shift 2
    mkdir -p "$folder"
    for file in "$@"; do
        [[ -f $file ]] && install -m "$mode" "$file" "$folder/"
    done
    return 0
}

# make_guest_image ARCHIVE BUSYBOX FLAVOUR...: the initramfs of Linux test guests of those flavours, which have console and timers
# built in.
make_guest_image() {
    local archive=$1 busybox=$2 tree flavour
    shift 2
    tree=$(mktemp -d "$archive.XXXXXX")
    add_busybox "$tree" "$busybox"
    for flavour in "$@"; do
        add_modules "$tree" "$flavour" "${GUEST_MODULES[@]}"
    done
    install -m 0755 "$ROOT/scripts/image/guest-init" "$tree/init"
    install_present 0755 "$tree/bin" "$BUILD/tools/tests/guests/linux/guest-stress"
    pack_tree "$tree" "$archive"
    rm -rf "$tree"
}

# add_guests TREE: the kernels and images that configs/*.json name, and those configs beside them.  The ELF kernel is by far
# the largest, and each boot copies it: GRAFT_WITHOUT_ELF_KERNEL, which the system tests set, leaves it out.
add_guests() {
    local tree=$1 folder=$1/usr/lib/graft/guests flavour
    install_present 0755 "$folder" "$BUILD"/target/tests/guests/*.elf
    for flavour in "${KERNEL_FLAVOURS[@]}"; do
        install -m 0644 "$(kernel_image "$flavour")" "$folder/vmlinuz-$flavour"
    done
    [[ -n ${GRAFT_WITHOUT_ELF_KERNEL:-} ]] ||
        install -m 0644 "$(elf_kernel cloud-amd64)" "$folder/vmlinux-cloud-amd64"
    make_guest_image "$folder/initramfs.cpio" /bin/busybox "${KERNEL_FLAVOURS[@]}"
    install_present 0644 "$tree/root/configs" "$ROOT"/configs/*.json
}

# make_dom0_tree TREE FLAVOUR: dom0 without what one run adds.
make_dom0_tree() {
    local tree=$1 flavour=$2 extension
    add_busybox "$tree"
    add_modules "$tree" "$flavour" "${DOM0_MODULES[@]}"
    install -m 0755 "$ROOT/scripts/image/dom0-init" "$tree/init"
    install -D -m 0755 "$ROOT/scripts/image/link-ports" "$tree/usr/lib/graft/link-ports"
    install_present 0755 "$tree/usr/sbin" "$BUILD"/tools/xl/{xl,xld}
    for extension in "$BUILD"/target/extensions/*/*.hvx; do
        install_present 0644 "$tree/usr/lib/graft/extensions" "$extension"
    done
    add_guests "$tree"
}

# add_user_file TREE FILE[:PATH]: with its mode, at PATH or in /root; parent folders are made.  A word that names a file
# as a whole is that file, colon or not.
add_user_file() {
    local tree=$1 file=$2 path=/root/
    if [[ ! -e $2 && $2 == *:* ]]; then
        file=${2%%:*} path=${2#*:}
    fi
    [[ $path == /* ]] || path=/root/$path
    [[ $path == */ ]] && path=$path${file##*/}
    [[ -f $file && -r $file ]] || DIE_STATUS=2 die "--add: no readable file $file"
    mkdir -p "$tree${path%/*}"
    cp --dereference --preserve=mode "$file" "$tree$path"
}

# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# The machine that Graft runs in: QEMU's words for it.  What carries dom0's command is added by run_machine.py.

# The host's processor can run SVM guests inside SVM guests, and we may use it.
host_has_nested_svm() {
    [[ -r /dev/kvm && -w /dev/kvm ]] && grep --quiet --word-regexp svm /proc/cpuinfo &&
        grep --quiet '[1Y]' /sys/module/kvm_amd/parameters/nested 2>/dev/null
}

# machine_words MACHINE CPUS MEMORY ICOUNT: one word a line.  Where instructions are not counted, kernels do not see ERMS and FSRM:
# they would copy and clear by bytes, which the emulator does one after the other.
machine_words() {
    local machine=$1 cpus=$2 memory=$3 icount=$4
    printf '%s\n' qemu-system-x86_64 -machine "$machine" -smp "$cpus" -m "$memory" -display none -no-reboot -nic none
    if (( icount )); then
        printf '%s\n' -accel tcg -cpu max,+svm -icount shift=0,sleep=off
    elif host_has_nested_svm; then
        printf '%s\n' -accel kvm -cpu host
    else
        printf '%s\n' -accel tcg -cpu max,+svm,-erms,-fsrm
    fi
}

# make_boot_archive ARCHIVE KERNEL CMDLINE INITRAMFS COUNT KEY... EXTENSION...: the one module that a PVH start hands to
# Graft, with COUNT keys, and the extensions with the signatures that lie beside them.
make_boot_archive() {
    local archive=$1 kernel=$2 cmdline=$3 initramfs=$4 keys=("${@:6:$5}") tree extension key
    shift $((5 + $5))
    tree=$(mktemp -d "$archive.XXXXXX")
    cp "$kernel" "$tree/kernel"
    printf '%s' "$cmdline" > "$tree/cmdline"
    ln "$initramfs" "$tree/initramfs"
    mkdir "$tree/extensions" "$tree/keys"
    for key in ${keys[@]+"${keys[@]}"}; do
        cp "$key" "$tree/keys/$(basename -- "$key" .pub)"
    done
    for extension in "$@"; do
        cp "$extension" "$tree/extensions/"
        [[ ! -f $extension.sig ]] || cp "$extension.sig" "$tree/extensions/"
    done
    pack_tree "$tree" "$archive"
    rm -rf "$tree"
}

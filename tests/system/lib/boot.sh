# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2153  # $GRAFT_LOG and $DOM0_LOG are for the tests, $TREE and $WORK of checks.sh
#
# For tests that look at the machine's first seconds: QEMU with words of the test's own, until a line appears.  Sourced
# after checks.sh.

# shellcheck source-path=SCRIPTDIR/../../../scripts/lib
source "$TREE/scripts/lib/prepare.sh"
source "$TREE/scripts/lib/image.sh"
source "$TREE/scripts/lib/machine.sh"

GRAFT=$BUILD/target/hypervisor/graft.elf
GRAFT_LOG=$WORK/graft.log
DOM0_LOG=$WORK/dom0.log

# boot_until PATTERN FILE SECONDS QEMU-WORDS...: starts the machine, with its serial ports in $GRAFT_LOG and $DOM0_LOG, and
# ends it when a line of FILE matches, when it ends by itself or after so many seconds.  Fails where no line matched.
boot_until() {
    local pattern=$1 file=$2 seconds=$3 machine end status=1
    shift 3
    : > "$GRAFT_LOG"
    : > "$DOM0_LOG"
    timeout --kill-after=5 "$seconds" qemu-system-x86_64 -display none -no-reboot -nic none -monitor none \
        -serial "file:$GRAFT_LOG" -serial "file:$DOM0_LOG" "$@" > "$WORK/qemu.log" 2>&1 </dev/null &
    machine=$!
    end=$((SECONDS + seconds))
    while (( SECONDS < end )); do
        if grep --quiet --text --extended-regexp -- "$pattern" "$file"; then
            status=0
            break
        fi
        kill -0 "$machine" 2>/dev/null || break
        sleep 0.2
    done
    # What it wrote last may have come between the look and the end.
    grep --quiet --text --extended-regexp -- "$pattern" "$file" && status=0
    kill "$machine" 2>/dev/null || true
    wait "$machine" 2>/dev/null || true
    return "$status"
}

# make_small_image ARCHIVE: an initramfs that says where it is and waits.
make_small_image() {
    local tree=$WORK/small
    add_busybox "$tree"
    cat > "$tree/init" <<'TEXT'
#!/bin/sh
/bin/busybox --install -s
mount -t proc proc /proc
echo "dom0 is up: $(cat /proc/cmdline)"
sleep 1000
TEXT
    chmod 0755 "$tree/init"
    pack_tree "$tree" "$1"
    rm -rf "$tree"
}

# SPDX-License-Identifier: MIT
# shellcheck shell=dash
#
# How steps that run inside dom0 speak: PASS and FAIL lines like checks.sh, in busybox's shell.  A test's steps are a file of
# their own beside its run, which gives both to dom0 and shows what they print (steps_in_dom0 of checks.sh).
FAILED=0

# verdict STATUS WHAT [REASON]
verdict() {
    if [ "$1" = 0 ]; then
        echo "PASS $2"
    else
        FAILED=$((FAILED + 1))
        echo "FAIL $2"
        [ -z "$3" ] || echo "$3" | sed 's/^/    /'
    fi
}

# check WHAT COMMAND...: the command succeeds.
check() {
    what=$1
    shift
    code=0
    said=$("$@" 2>&1) || code=$?
    verdict "$code" "$what" "status $code of: $*
$said"
}

# check_fails STATUS WHAT PATTERN COMMAND...: the command ends with that status (a pattern), and a line that it writes matches.
check_fails() {
    expected=$1 what=$2 pattern=$3
    shift 3
    code=0
    said=$("$@" 2>&1) || code=$?
    good=0
    echo "$code" | grep -q -x -e "$expected" && echo "$said" | grep -q -E -e "$pattern" || good=1
    verdict "$good" "$what" "status $code (expected $expected, and /$pattern/) of: $*
$said"
}

# check_equal WHAT EXPECTED FOUND
check_equal() {
    good=0
    [ "$2" = "$3" ] || good=1
    verdict "$good" "$1" "expected: $2
found:    $3"
}

# eventually SECONDS COMMAND...: the command succeeds within that time, by dom0's clock, which a loaded host stretches.
eventually() {
    tries=$(($1 * 5))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        usleep 200000
    done
}

# check_eventually SECONDS WHAT COMMAND...
check_eventually() {
    seconds=$1 what=$2
    shift 2
    good=0
    eventually "$seconds" "$@" || good=1
    verdict "$good" "$what" "not within $seconds s: $*
$(xl list 2>&1)
$(tail -n 5 /var/log/graft/xld.log)
$(tail -q -n 5 /var/log/graft/console-*.log 2>/dev/null | tr -d '\r')"
}

# json KEY: the first value of that key in the JSON that xl prints, one key a line.
json() {
    sed -n 's/^ *"'"$1"'": *"\{0,1\}\([^",]*\)"\{0,1\},\{0,1\}$/\1/p' | head -n 1
}

console_of() {
    echo "/var/log/graft/console-$1.log"
}

# says DOMAIN PATTERN: a line of its console, of this run of it, matches.
says() {
    tr -d '\r' < "$(console_of "$1")" 2>/dev/null | grep -q -E -e "$2"
}

# last_number DOMAIN FACT: the number in the last `guest: FACT: NUMBER...` of its console.
last_number() {
    tr -d '\r' < "$(console_of "$1")" | sed -n "s/^guest: $2: \([0-9]*\).*/\1/p" | tail -n 1
}

state_of() {
    xl list "$1" -o json 2>/dev/null | json state
}

state_is() {
    [ "$(state_of "$1")" = "$2" ]
}

gone() {
    ! xl domid "$1" >/dev/null 2>&1
}

free_bytes() {
    xl info -o json | json freeMemoryBytes
}

free_is() {
    [ "$(free_bytes)" = "$1" ]
}

dom0_exits() {
    xl exits dom0 -o json | json total
}

# dom0_exits_during COMMAND...: the exits that dom0 makes meanwhile, less what asking for them costs.
dom0_exits_during() {
    first=$(dom0_exits)
    asking=$(($(dom0_exits) - first))
    first=$(dom0_exits)
    "$@"
    echo $(($(dom0_exits) - first - asking))
}

# stop_xld, start_xld: as a service manager would restart it.
stop_xld() {
    kill "$(pidof xld)"
    eventually 20 xld_gone
}

xld_gone() {
    ! pidof xld >/dev/null
}

start_xld() {
    xld >> /var/log/graft/xld.output 2>&1 &
    eventually 30 xl list >/dev/null 2>&1
}

# linux_config NAME CMDLINE [VCPUS [FLAVOUR]]: a config for a Linux test guest on standard output.
linux_config() {
    cat <<TEXT
{ "apiVersion": 1, "name": "$1", "memory": "256MiB", "vcpus": ${3:-1},
  "boot": { "kernel": "/usr/lib/graft/guests/vmlinuz-${4:-cloud-amd64}",
            "ramdisk": "/usr/lib/graft/guests/initramfs.cpio", "cmdline": "console=ttyS0 $2" } }
TEXT
}

# small_config NAME GUEST [CMDLINE]: a config for one of the freestanding guests.
small_config() {
    cat <<TEXT
{ "apiVersion": 1, "name": "$1", "memory": "16MiB",
  "boot": { "kernel": "/usr/lib/graft/guests/$2.elf", "cmdline": "${3-}" } }
TEXT
}

# The last words of every file of steps: without them, the test fails.
finish() {
    echo "STEPS COMPLETE"
    exit $((FAILED > 0))
}

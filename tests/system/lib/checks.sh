# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034  # $STATUS is for the tests
#
# How a system test speaks: one line `PASS what` or `FAIL what` a check, with the reason below a FAIL, and `finish` at the
# end.  A test boots the machine by in_dom0 and looks at $STATUS, $OUT and $ERR; several checks may share one boot.

TREE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../../.." && pwd)
WORK=$(mktemp -d)
STATUS=0
OUT=$WORK/out
ERR=$WORK/err
FAILED=0
export GRAFT_WITHOUT_ELF_KERNEL=1  # in dom0's image; a test that wants it takes this away
trap 'rm -rf "$WORK"' EXIT

# verdict STATUS WHAT [REASON]: passes on 0.
verdict() {
    if (( $1 == 0 )); then
        printf 'PASS %s\n' "$2"
    else
        FAILED=$((FAILED + 1))
        printf 'FAIL %s\n' "$2"
        [[ -z ${3:-} ]] || printf '%s\n' "$3" | sed 's/^/    /'
    fi
}

# check WHAT COMMAND...: the command succeeds.
check() {
    local what=$1 said status=0
    shift
    said=$("$@" 2>&1) || status=$?
    verdict "$status" "$what" "status $status of: $* ${said:+
$said}"
}

# check_equal WHAT EXPECTED FOUND
check_equal() {
    local status=0
    [[ $2 == "$3" ]] || status=1
    verdict "$status" "$1" "expected: $2
found:    $3"
}

# check_line WHAT PATTERN FILE: some line of the file matches the extended regular expression.
check_line() {
    local status=0
    grep --quiet --extended-regexp -- "$2" "$3" || status=1
    verdict "$status" "$1" "no line matches '$2' in:
$(tail -n 40 "$3")"
}

# check_no_line WHAT PATTERN FILE
check_no_line() {
    local status=0
    ! grep --quiet --extended-regexp -- "$2" "$3" || status=1
    verdict "$status" "$1" "a line matches '$2':
$(grep --extended-regexp -- "$2" "$3" | head -n 5)"
}

# in_dom0 WORDS...: scripts/dom0 with those words; its status, output and errors are kept in $STATUS, $OUT and $ERR.
in_dom0() {
    STATUS=0
    "$TREE/scripts/dom0" "$@" >"$OUT" 2>"$ERR" </dev/null || STATUS=$?
}

# steps_in_dom0 FILE WORDS...: runs a file of steps (dom0_checks.sh) in dom0, scripts/dom0 given those words, and shows the
# checks that they make as they make them.  Where ticks are not instructions, hooks get a budget that a busy host does not use up,
# and dom0 the stock kernel that boots in half the time, if the words say no other.
steps_in_dom0() {
    local steps=$1 failed unless_said=()
    shift
    if [[ " $* " != *" --icount "* ]]; then
        [[ " $* " == *ext-budget=* ]] || unless_said+=(--append ext-budget=2s)
        [[ " $* " == *" --kernel "* ]] || unless_said+=(--kernel cloud-amd64)
    fi
    STATUS=0
    "$TREE/scripts/dom0" --timeout 800 --add "$TREE/tests/system/lib/dom0_checks.sh" --add "$steps:/root/steps" \
        ${unless_said[@]+"${unless_said[@]}"} "$@" \
        -- sh /root/steps 2>"$ERR" </dev/null | tee "$OUT" || STATUS=$?
    failed=$(grep --count '^FAIL ' "$OUT") || true
    FAILED=$((FAILED + failed))
    if ! grep --quiet '^STEPS COMPLETE$' "$OUT"; then
        verdict 1 "the steps in dom0 came to their end" "status $STATUS
$(tail -n 60 "$ERR")"
    fi
}

# Ends the test: status 0 only if no check failed.
finish() {
    exit $(( FAILED > 0 ))
}

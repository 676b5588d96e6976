# SPDX-License-Identifier: MIT
#
# The owner of a port, in dom0: extensions/viridian/src/port_record.hpp by hexadecimal digits, a record a line.  A guest's message goes
# back with its type and each byte one more, to SINT 2 of the VP that posted it, and an event as the next flag of SINT 3: as
# tests/guests/port-echo does.
BEGIN {
    for (value = 0; value < 256; value++) {
        digits = sprintf("%02x", value)
        value_of[digits] = value
        next_of[digits] = sprintf("%02x", (value + 1) % 256)
    }
}

# The word behind the first `before` ones.
function word(before, at, sum, byte) {
    at = 8 * before + 1
    for (byte = 3; byte >= 0; byte--)
        sum = 256 * sum + value_of[substr($0, at + 2 * byte, 2)]
    return sum
}

function text(number) {
    return sprintf("%02x%02x%02x%02x", number % 256, int(number / 256) % 256, int(number / 65536) % 256, int(number / 16777216) % 256)
}

function answer(sint, payload) {
    print substr($0, 1, 16) text(sint) text(word(3) + 1) substr($0, 33, 16) payload
    fflush()
}

word(0) == 1 {
    payload = ""
    bytes = word(4)
    for (byte = 0; byte < bytes; byte++)
        payload = payload next_of[substr($0, 49 + 2 * byte, 2)]
    answer(2, payload substr($0, 49 + 2 * bytes))
}
word(0) == 2 { answer(3, substr($0, 49)) }

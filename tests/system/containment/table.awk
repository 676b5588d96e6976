# SPDX-License-Identifier: MIT
#
# The faults as tables: awk -v wanted=ROUNDS -f table.awk crimes.txt counts.txt.  counts.txt has three lines a hook, `committed`,
# `lost` and `survived`, the hook's name and one count for each line of crimes.txt.  Any count that is not ROUNDS ends it with 1.
function letter(column) { return column <= 26 ? sprintf("%c", 64 + column) : "A" sprintf("%c", 38 + column) }
FNR == NR { crimes = FNR; name[FNR] = $1; next }
$1 == "committed" { hook[++hooks] = $2 }
{
    for (crime = 1; crime <= crimes; ++crime) {
        cell[$1, hooks, crime] = $(crime + 2)
        of_hook[$1, hooks] += $(crime + 2)
        all[$1] += $(crime + 2)
        if ($(crime + 2) != wanted)
            wrong = wrong sprintf("NOT %d: %s %s %s\n", wanted, $1, $2, name[crime])
    }
}
END {
    print "| | hook | committed | instances lost | survived |"
    print "| --- | --- | --: | --: | --: |"
    for (column = 1; column <= hooks; ++column)
        printf "| %s | %s | %d | %d | %d |\n", letter(column), hook[column], of_hook["committed", column], of_hook["lost", column],
               of_hook["survived", column]
    printf "| | all | %d | %d | %d |\n\n", all["committed"], all["lost"], all["survived"]
    head = "| crime |"; line = "| --- |"
    for (column = 1; column <= hooks; ++column) {
        head = head " " letter(column) " |"
        line = line " --- |"
    }
    print head "\n" line
    for (crime = 1; crime <= crimes; ++crime) {
        row = "| " name[crime] " |"
        for (column = 1; column <= hooks; ++column)
            row = row " " cell["committed", column, crime] "/" cell["lost", column, crime] "/" cell["survived", column, crime] " |"
        print row
    }
    printf "\n%s", wrong
    exit wrong != "" || hooks == 0
}

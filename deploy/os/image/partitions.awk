# Rewrites a partition table as sfdisk --dump prints it, for a disk that is larger than the image on it: the last
# partition is grown over what is free behind it, and a partition for the seed is added.
#
# Given: total (sectors of the disk), grow (yes, no), seed (yes, no), sectors (of a seed at the disk's end).
# Prints the table for sfdisk, and where the seed is to be as a last line "# seed <start> <sectors>".

BEGIN { GAP_START = 64; GAP_END = 2048; ALIGN = 2048 }

/^label: / { label = $2 }
/^table-length: / { slots = $2 }
# The disk's end has moved, and space in front may be used that the image's maker left out.
/^(last-lba|first-lba): / { next }

/: start=/ {
    device[++count] = $1
    value = $0; sub(/^.*: start= */, "", value); start[count] = value + 0
    value = $0; sub(/^.*, size= */, "", value); size[count] = value + 0
    rest[count] = $0; if (!sub(/^.*, size= *[0-9]+/, "", rest[count])) rest[count] = ""
    number = $1; sub(/^.*[^0-9]/, "", number); used[number + 0] = 1
    if (number + 0 > highest) highest = number + 0
    if (!first || start[count] < first) first = start[count]
    if (start[count] + size[count] > end) { end = start[count] + size[count]; last = count }
    if ($0 ~ /type=(5|f|85)(,|$)/) extended = 1
    next
}

{ header[++lines] = $0 }

function refuse(why) { print why > "/dev/stderr"; failed = 1; exit 1 }

END {
    if (failed) exit 1
    if (!count) refuse("the image's partition table is empty")
    gpt = label == "gpt"
    limit = gpt ? total - 33 : total
    if (end > limit) refuse("the disk is too small for the image's partitions")
    if (seed == "yes") {
        if (gpt && first >= GAP_END) {
            seed_start = GAP_START; seed_size = GAP_END - GAP_START
        } else {
            seed_size = sectors
            seed_start = int((limit - seed_size) / ALIGN) * ALIGN
            if (seed_start < end) refuse("the disk has no space for the seed of cloud-init; make it 2 MiB larger")
            limit = seed_start
        }
        if (gpt) number = highest + 1
        else for (number = 1; number in used; number++);
        if (number > (gpt ? (slots ? slots : 128) : 4))
            refuse("the image's partition table has no place for the seed; give the instance a disk named cidata")
    }
    if (!gpt && limit > 4294967295) limit = 4294967295
    if (grow == "yes" && !extended && limit > end) size[last] = limit - start[last]

    for (i = 1; i <= lines; i++) if (header[i] != "") print header[i]
    if (gpt) print "first-lba: 34"
    print ""
    for (i = 1; i <= count; i++)
        printf "%s : start=%.0f, size=%.0f%s\n", device[i], start[i], size[i], rest[i]
    if (seed == "yes") {
        name = device[1]; sub(/[0-9]+$/, "", name)
        type = gpt ? "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, name=\"cidata\"" : "1"
        printf "%s%d : start=%.0f, size=%.0f, type=%s\n", name, number, seed_start, seed_size, type
        printf "# seed %.0f %.0f\n", seed_start, seed_size
    }
}

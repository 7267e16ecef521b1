# What the scripts of this definition share. They run in the definition's folder with the environment of
# ganeti-os-interface(7) and nothing else.
# shellcheck shell=sh
set -eu
umask 077

die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# Value of a key in a file of key=value lines; nothing when it has none.
setting() {
    [ -f "$1" ] || return 0
    sed -n "s/^$2=//p" "$1" | head -n 1
}

# A parameter as given, else as the variant has it, else its default.
parameter() {
    case $1 in
        image) given=${OSP_IMAGE-} default="" ;;
        sha256) given=${OSP_SHA256-} default="" ;;
        network) given=${OSP_NETWORK-} default=auto ;;
        grow) given=${OSP_GROW-} default=yes ;;
        *) die "no such parameter: $1" ;;
    esac
    [ -n "$given" ] || [ -z "${OS_VARIANT-}" ] || given=$(setting "variants/$OS_VARIANT.conf" "$1")
    printf '%s' "${given:-$default}"
}

image_folder=$(setting image.conf image_folder)
cache_folder=$(setting image.conf cache_folder)
cache_gib=$(setting image.conf cache_gib)
cache_gib=${cache_gib:-10}
image=$(parameter image)
sha256=$(parameter sha256 | tr 'A-F' 'a-f')

need() {
    command -v "$1" >/dev/null || die "$1 is not installed on this node; it is in the package $2"
}

# Whether the whole of a text, which may have several lines, matches.
matches() {
    [ "$(printf '%s\n' "$1" | wc -l)" -eq 1 ] && printf '%s\n' "$1" | grep -Eqx -- "$2"
}

# Whether a text has no control characters, which are two bytes from U+0080 on, and nothing else that YAML cannot hold
# (U+FFFE, U+FFFF).
plain() {
    refused=$(printf '[[:cntrl:]]|\302[\200-\237]|\357\277[\276\277]')
    ! printf '%s' "$1" | LC_ALL=C grep -Eqa -- "$refused"
}

# The parameter ssh-keys without what authorized_keys may hold besides keys: comments and empty lines.
public_keys() {
    printf '%s\n' "${OSP_SSH_KEYS-}" | sed -e '/^[[:blank:]]*#/d' -e '/^[[:blank:]]*$/d'
}

# Whether user-data begins with the headers of a mail, after mbox's "From " or not, and MIME-Version is one of them:
# by that, in as many bytes, cloud-init knows MIME. Any "word: " would do for YAML too.
is_mime() {
    printf '%.4096s\n' "$1" | awk '
        { sub(/\r$/, "") }
        NR == 1 && /^From / { next }
        /^[!-9;-~]+:/ { header = 1; if (tolower($0) ~ /^mime-version:/) found = 1; next }
        header && /^[ \t]/ { next }
        { exit }
        END { exit !found }'
}

# Path of an image given by name.
image_file() {
    real_folder=$(readlink -e -- "$image_folder") || die "the image folder $image_folder does not exist on this node"
    real_file=$(readlink -e -- "$real_folder/$image") || die "there is no image $image in $image_folder"
    case $real_file in
        "$real_folder"/*) ;;
        *) die "image $image leads outside $image_folder" ;;
    esac
    [ -f "$real_file" ] || die "image $image is no file"
    printf '%s' "$real_file"
}

check_parameters() {
    need qemu-img qemu-utils
    need sfdisk fdisk
    [ -n "$image" ] || die "parameter image is missing"
    [ -z "$sha256" ] || matches "$sha256" '[0-9a-f]{64}' || die "parameter sha256 must be 64 hexadecimal digits"
    case $image in
        https://*)
            need curl curl
            matches "$image" 'https://[!-~]+' || die "parameter image holds characters that no URL has"
            [ -n "$sha256" ] || die "parameter sha256 is required when the image is a URL"
            matches "$cache_gib" '0|[1-9][0-9]{0,5}' || die "cache_gib in image.conf must be a number"
            ;;
        *://*) die "parameter image must be a file's name or an https URL" ;;
        *)
            matches "$image" '[A-Za-z0-9_][A-Za-z0-9_.+/-]*' || die "parameter image is not the name of a file"
            image_file >/dev/null
            ;;
    esac
    case $(parameter network) in
        auto | dhcp | none) ;;
        *) die "parameter network must be auto, dhcp or none" ;;
    esac
    case $(parameter grow) in
        yes | no) ;;
        *) die "parameter grow must be yes or no" ;;
    esac
    [ -z "${OSP_DNS-}" ] || matches "$OSP_DNS" '[0-9A-Fa-f.:]+(, ?[0-9A-Fa-f.:]+)*' ||
        die "parameter dns must be addresses separated by commas"
    [ -z "${OSP_USER_DATA-}" ] || [ -z "${OSP_SSH_KEYS-}" ] ||
        die "give either user-data or ssh-keys: keys are a part of user-data"
    case ${OSP_USER_DATA-} in
        "" | "#"* | Content-Type:* | MIME-Version:*) ;;
        *) is_mime "$OSP_USER_DATA" || die "parameter user-data must begin with #cloud-config, #! or a MIME header" ;;
    esac
    public_keys | while IFS= read -r key; do
        plain "$key" || die "parameter ssh-keys holds a line with control characters"
        matches "$key" '.*(ssh|ecdsa|sk)-[a-z0-9@.-]+ AAAA[0-9A-Za-z+/=]+.*' ||
            die "parameter ssh-keys holds a line that is no public key"
    done
}

# Path of the instance's disk of an index.
disk_path() {
    eval "path=\${DISK_$1_PATH-}"
    [ -n "${path:-}" ] || die "the instance has no disk $1"
    printf '%s' "$path"
}

size_bytes() {
    if [ -b "$1" ]; then blockdev --getsize64 "$1"; else stat -L -c %s -- "$1"; fi
}

# Path of the instance's disk named "cidata"; nothing when it has none.
seed_disk() {
    index=1
    while [ "$index" -lt "${DISK_COUNT:-0}" ]; do
        eval "name=\${DISK_${index}_NAME-}"
        if [ "$name" = cidata ]; then
            disk_path "$index"
            return
        fi
        index=$((index + 1))
    done
}

# A folder for this run, gone at its end, as is the file that $unfinished names then.
work_folder() {
    unfinished=""
    work=$(mktemp -d)
    trap 'rm -rf "$work" ${unfinished:+"$unfinished"}' EXIT
    trap 'exit 1' HUP INT TERM
}

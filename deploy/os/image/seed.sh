# The seed that cloud-init's NoCloud datasource reads: three files in a FAT filesystem labelled CIDATA.
# shellcheck shell=sh

# Sectors of the filesystem that qemu-img makes of a folder: a floppy's.
SEED_SECTORS=2880

# A string as YAML and JSON write it. Whoever prints it must not use echo, which takes backslashes for its own.
quoted() {
    printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')"
}

meta_data() {
    # Another instance-id is another instance for cloud-init: only then it takes the name again.
    if [ -n "${OLD_INSTANCE_NAME-}" ]; then
        printf 'instance-id: %s\n' "$(quoted "$INSTANCE_UUID-$INSTANCE_NAME")"
    else
        printf 'instance-id: %s\n' "$(quoted "$INSTANCE_UUID")"
    fi
    printf 'local-hostname: %s\n' "$(quoted "$INSTANCE_NAME")"
}

user_data() {
    if [ -n "${OSP_USER_DATA-}" ]; then
        printf '%s\n' "$OSP_USER_DATA"
        return
    fi
    echo "#cloud-config"
    keys=$(public_keys)
    [ -n "$keys" ] || return 0
    echo "ssh_authorized_keys:"
    printf '%s\n' "$keys" | while IFS= read -r key; do
        printf '  - %s\n' "$(quoted "$key")"
    done
}

# Of a MAC in an IPv6 subnet: the address that autoconfiguration would choose too (RFC 4291, appendix A). Nothing
# when the subnet is not a /64.
address6() {
    printf '%s %s\n' "$1" "$2" | awk '
        {
            split($2, subnet, "/")
            if (subnet[2] != "64") exit
            halves = split(subnet[1], half, "::")
            groups = split(half[1], group, ":")
            if (half[1] == "") groups = 0
            if (halves == 1 && groups != 8) exit
            split($1, mac, ":")
            digits = "0123456789abcdef"
            low = index(digits, tolower(substr(mac[1], 2, 1))) - 1
            low = int(low / 4) * 4 + (low % 4 >= 2 ? low % 4 - 2 : low % 4 + 2)
            first = substr(mac[1], 1, 1) substr(digits, low + 1, 1)
            for (i = 1; i <= 4; i++) prefix = prefix (i <= groups ? group[i] : "0") ":"
            print prefix first mac[2] ":" mac[3] "ff:fe" mac[4] ":" mac[5] mac[6] "/64"
        }'
}

network_config() {
    echo "version: 2"
    [ "${NIC_COUNT:-0}" -gt 0 ] || return 0
    echo "ethernets:"
    nic=0
    while [ "$nic" -lt "$NIC_COUNT" ]; do
        nic_config "$nic"
        nic=$((nic + 1))
    done
}

nic_config() {
    eval "mac=\${NIC_$1_MAC} ip=\${NIC_$1_IP-}"
    eval "subnet=\${NIC_$1_NETWORK_SUBNET-} gateway=\${NIC_$1_NETWORK_GATEWAY-}"
    eval "subnet6=\${NIC_$1_NETWORK_SUBNET6-} gateway6=\${NIC_$1_NETWORK_GATEWAY6-}"
    addresses="" via4="" via6="" dhcp4=true
    if [ "$(parameter network)" = auto ]; then
        case $ip in
            *:*) [ -z "$subnet6" ] || addresses=$(quoted "$ip/${subnet6#*/}") ;;
            ?*)
                if [ -n "$subnet" ]; then
                    addresses=$(quoted "$ip/${subnet#*/}") via4=$gateway dhcp4=false
                fi
                ;;
        esac
        if [ -n "$subnet6" ]; then
            case $addresses in *:*) own6="" ;; *) own6=$(address6 "$mac" "$subnet6") ;; esac
            [ -z "$own6" ] || addresses=${addresses:+$addresses, }$(quoted "$own6")
            case $addresses in *:*) via6=$gateway6 ;; esac
        fi
    fi
    echo "  eth$1:"
    echo "    match: {macaddress: $(quoted "$mac")}"
    echo "    set-name: eth$1"
    echo "    dhcp4: $dhcp4"
    [ -z "$addresses" ] || echo "    addresses: [$addresses]"
    # Not as routes: cloud-init 22.4 takes ::/0 for ::/64.
    [ -z "$via4" ] || echo "    gateway4: $(quoted "$via4")"
    [ -z "$via6" ] || echo "    gateway6: $(quoted "$via6")"
    if [ -n "$addresses" ] && [ -n "${OSP_DNS-}" ]; then
        echo "    nameservers: {addresses: [$(name_servers)]}"
    fi
}

name_servers() {
    separator=""
    for server in $(printf '%s' "$OSP_DNS" | tr ',' ' '); do
        printf '%s%s' "$separator" "$(quoted "$server")"
        separator=", "
    done
}

# Makes $work/seed.img, of so many sectors.
make_seed() {
    mkdir "$work/seed"
    meta_data >"$work/seed/meta-data"
    user_data >"$work/seed/user-data"
    [ "$(parameter network)" = none ] || network_config >"$work/seed/network-config"
    qemu-img convert --image-opts "driver=vvfat,dir=$work/seed,floppy=on,fat-type=12,label=CIDATA" \
        -O raw "$work/seed.img"
    if [ "$1" -lt "$SEED_SECTORS" ]; then
        # The filesystem's own count of its sectors, little-endian at byte 19. Files lie in front: nothing is cut off,
        # an environment's user-data being 128 KiB at most.
        # shellcheck disable=SC2059
        printf "$(printf '\\%03o\\%03o' $(($1 % 256)) $(($1 / 256)))" |
            dd of="$work/seed.img" bs=1 seek=19 conv=notrunc status=none
        truncate -s $(($1 * 512)) "$work/seed.img"
    fi
}

# Writes $work/seed.img to a disk, from a sector on.
write_seed() {
    dd if="$work/seed.img" of="$1" bs=512 seek="$2" conv=notrunc,nocreat,fsync status=none
}

# "start size" of the partition of a disk that holds a seed; nothing when it has none.
find_seed() {
    sfdisk --dump "$1" 2>/dev/null | sed -n 's/.*: start= *\([0-9]*\), size= *\([0-9]*\).*/\1 \2/p' |
        while read -r start size; do
            label=$(dd if="$1" bs=512 skip="$start" count=1 status=none | dd bs=1 skip=43 count=6 status=none | tr -d '\000')
            if [ "$label" = CIDATA ]; then
                echo "$start $size"
                break
            fi
        done
}

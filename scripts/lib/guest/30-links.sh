# shellcheck shell=bash disable=SC2154
# Interfaces of the kinds that servers have, on hosts whose plain eth0 is the wrong one or has no address.

# session_over INTERFACE-OF-SENDER INTERFACE-OF-ALPHA ARGUMENT…: a session that chooses by itself, and says so rightly.
session_over() {
    rm -f "$work/received"
    session alpha -o "$work/received" -v
    cat "$work/sender.log" "$work/alpha.log"
    cmp "$work/stream" "$work/received"
    grep -qF "interface=$2 " "$work/alpha.log"
    grep -qF "interface=$1 " "$work/sender.log"
}

# Only the VLAN has addresses, on top of a plain port at the sender and of a bond at the receiver.
make_tagged_hosts() {
    make_lan sender alpha
    ip -n sender addr flush dev eth0
    ip -n sender link add link eth0 name eth0.7 type vlan id 7
    ip -n sender addr add 10.79.7.1/24 dev eth0.7
    ip -n sender link set eth0.7 up
    ip -n alpha link set eth0 down
    ip -n alpha addr flush dev eth0
    plug alpha eth1 alpha-second
    ip -n alpha link set eth1 down
    ip -n alpha link add bond0 type bond mode active-backup miimon 100
    ip -n alpha link set eth0 master bond0
    ip -n alpha link set eth1 master bond0
    ip -n alpha link set bond0 up
    ip -n alpha link add link bond0 name bond0.7 type vlan id 7
    ip -n alpha link set bond0.7 up
    ip -n alpha addr add 10.79.7.2/24 dev bond0.7
}

session_chooses_vlans_on_a_port_and_on_a_bond_by_itself() { session_over eth0.7 bond0.7; }

session_follows_the_device_of_the_route_where_its_source_address_is_on_lo() {
    local host number=0
    for host in sender alpha; do
        number=$((number + 1))
        ip -n $host addr add 10.99.0.$number/32 dev lo
        # A second network, so that there is a choice to make.
        ip -n $host link add other type dummy
        ip -n $host addr add 10.80.0.$number/24 dev other
        ip -n $host link set other up
    done
    ip -n sender route add default dev eth0.7 src 10.99.0.1
    ip -n alpha route add default dev bond0.7 src 10.99.0.2
    session_over eth0.7 bond0.7
}

bytes_at_alpha() { on alpha cat /sys/class/net/bond0.7/statistics/rx_bytes; }
stream_arrives() { (($(bytes_at_alpha) > bytes_before + 300000)); }

bond_that_loses_a_port_in_mid_session_loses_nothing_else() {
    local active bytes_before
    rm -f "$work/received"
    bytes_before=$(bytes_at_alpha)
    receive alpha -o "$work/received" -v
    send --rate 4M -v &
    sender=$!
    wait_until 60 stream_arrives || { cat "$work/sender.log" "$work/alpha.log" && return 1; }
    active=$(on alpha cat /proc/net/bonding/bond0 | sed -n 's/^Currently Active Slave: //p')
    echo "active: $active"
    ip -n alpha link set "$active" down
    wait "$sender" || { cat "$work/sender.log" "$work/alpha.log" && return 1; }
    wait "$receiver"
    cmp "$work/stream" "$work/received"
}

interface_is_found_by_the_label_of_its_address_and_by_its_other_name() {
    ip -n alpha addr add 10.79.8.2/24 dev bond0.7 label bond0.7:1
    ip -n alpha link property add dev bond0.7 altname backup-lan
    local name
    for name in bond0.7:1 backup-lan 10.79.7.2; do
        rm -f "$work/received"
        session alpha -i $name -o "$work/received"
        cmp "$work/stream" "$work/received"
    done
}

if make_tagged_hosts >"$work/links.log" 2>&1; then
    check session_chooses_vlans_on_a_port_and_on_a_bond_by_itself
    check bond_that_loses_a_port_in_mid_session_loses_nothing_else
    check session_follows_the_device_of_the_route_where_its_source_address_is_on_lo
    check interface_is_found_by_the_label_of_its_address_and_by_its_other_name
else
    say "FAILED  VLANs or bonds cannot be made: $(tail -n 5 "$work/links.log")"
fi
for host in switch sender alpha; do ip netns del "$host"; done

# shellcheck shell=bash disable=SC2154
# The unit of docs/guide.md, as it stands there, was enabled before the boot; the guest has no network then. The checks of the other
# parts run between this file and 90-service.sh, so that the service waits for longer than its watchdog does.

unit() { systemctl show -P "$1" mcast-recv.service; }
# unit_has_been SINCE SECONDS: so long ago the unit came into the state that this property dates.
unit_has_been() { (($(unit "$1") > 0 && $(seconds_since_boot) - $(unit "$1") / 1000000 >= $2)); }
unit_is_active() { [[ $(unit ActiveState) == active ]]; }
# /proc has the bytes of 239.255.77.67 in the order of this machine.
group_is_joined_on_eth0() { awk '/^[0-9]/ { name = $2 } $1 == "434DFFEF" && name == "eth0" { found = 1 } END { exit !found }' /proc/net/igmp; }
session_with_the_service() {
    (on upstream setpriv --reuid postgres --clear-groups timeout 90 mcast-send -l shop -n 1 --start-timeout 60s -f "$work/stream")
    cmp "$work/stream" /srv/dumps/shop-*.dump
    rm /srv/dumps/shop-*.dump
}

service_of_the_guide_waits_for_a_network_that_comes_after_the_boot() {
    local began
    wait_until 30 unit_has_been InactiveExitTimestampMonotonic 0
    [[ -z $(ip -o -4 addr show scope global) ]]
    # Nothing can be received yet, so readiness would be a lie.
    began=$(seconds_since_boot)
    until (($(seconds_since_boot) >= began + 20)); do
        [[ $(unit ActiveState) == activating ]]
        sleep 0.5
    done
    ip netns add upstream
    ip link add eth0 type veth peer name eth0 netns upstream
    ip -n upstream addr add 10.78.0.1/24 dev eth0
    ip -n upstream link set eth0 up
    ip link set eth0 up
    ip addr add 10.78.0.2/24 dev eth0
    ip route add default via 10.78.0.1
    wait_until 60 unit_is_active || { journalctl -n 30 -u mcast-recv.service && return 1; }
    group_is_joined_on_eth0
    session_with_the_service
}

check service_of_the_guide_waits_for_a_network_that_comes_after_the_boot
unit MainPID >"$work/service.pid"

# shellcheck shell=bash disable=SC2154

service_of_the_guide_outlives_its_watchdog_and_receives_again() {
    local watchdog
    watchdog=$(sed -n 's/^WatchdogSec=//p' /payload/mcast-recv.service)
    wait_until $((watchdog + 10)) unit_has_been ActiveEnterTimestampMonotonic $((watchdog + 5))
    session_with_the_service
    [[ $(unit MainPID) == "$(<"$work/service.pid")" ]]
}

service_of_the_guide_stops_as_its_unit_says() {
    systemctl stop mcast-recv.service
    printf '%s\n' "$(unit ActiveState)" "$(unit Result)" "$(unit ExecMainStatus)" | tee "$work/stopped"
    [[ $(<"$work/stopped") == $'inactive\nsuccess\n143' ]]
}

check service_of_the_guide_outlives_its_watchdog_and_receives_again
check service_of_the_guide_stops_as_its_unit_says

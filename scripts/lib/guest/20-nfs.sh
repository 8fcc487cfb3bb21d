# shellcheck shell=bash disable=SC2154
# The guest serves a directory to itself. Each kind of mount is a file system of its own in /mnt.

serve_and_mount_nfs() {
    # A server that has just started refuses locks for 50 to 90 s, so that clients can claim the locks that they had.
    modprobe lockd nlm_timeout=3 nlm_grace_period=3
    printf '[nfsd]\ngrace-time=10\nlease-time=10\n' >/etc/nfs.conf.d/guest.conf
    mkdir -p /srv/export/{three,four,shared} /mnt/nfs{3,4} /mnt/deaf{1,2}
    echo '/srv/export 127.0.0.1(rw,no_root_squash,no_subtree_check,insecure,crossmnt)' >/etc/exports
    systemctl start nfs-server.service
    mount -t nfs -o vers=4.2 127.0.0.1:/srv/export/four /mnt/nfs4
    mount -t nfs -o vers=3 127.0.0.1:/srv/export/three /mnt/nfs3
    # Locks stay within each of these two, as those of two hosts whose locks the server does not know.
    mount -t nfs -o vers=3,nolock,nosharecache,noac 127.0.0.1:/srv/export/shared /mnt/deaf1
    mount -t nfs -o vers=3,nolock,nosharecache,noac 127.0.0.1:/srv/export/shared /mnt/deaf2
}

archive_on_nfs_4_is_written_verified_and_pruned() { archive_is_written_verified_and_pruned_on /mnt/nfs4; }
archive_on_nfs_3_is_written_verified_and_pruned() { archive_is_written_verified_and_pruned_on /mnt/nfs3; }

# growing_draft HOST DIRECTORY: a receiver in the middle of a stream that takes longer than the check does.
growing_draft() {
    receive "$1" --archive "$2"
    send --rate 1M &
    sender=$!
    wait_until 60 draft_grows "$2" || { cat "$work/$1.log" && return 1; }
}
draft_grows() { find "$1" -path '*/.mcast-*.part/data*' -size +0 | grep -q .; }
drafts() { find "$1" -maxdepth 1 -name '.mcast-*.part' | wc -l; }
# The receiver is a child of the `timeout` that was started, and of nothing else.
kill_receiver() {
    kill -KILL "$(pgrep -P "$receiver")"
    wait "$receiver" || true
}

draft_of_a_dead_receiver_is_swept_on() { # DIRECTORY
    local dumps=$1/swept
    mkdir "$dumps"
    growing_draft alpha "$dumps"
    mcast archive list "$dumps"
    (($(drafts "$dumps") == 1))
    kill_receiver
    wait "$sender" || true
    (($(drafts "$dumps") == 1))
    session beta --archive "$dumps"
    cat "$work/beta.log"
    ls -lA "$dumps"
    (($(drafts "$dumps") == 0))
    mcast archive verify "$dumps"
}
draft_of_a_dead_receiver_on_nfs_4_is_swept() { draft_of_a_dead_receiver_is_swept_on /mnt/nfs4; }
draft_of_a_dead_receiver_on_nfs_3_is_swept() { draft_of_a_dead_receiver_is_swept_on /mnt/nfs3; }

# The second host does not see the locks of the first, and its kernel has another boot id.
growing_draft_of_another_host_is_not_swept() {
    growing_draft alpha /mnt/deaf1
    cat /proc/sys/kernel/random/uuid >"$work/boot-id"
    # shellcheck disable=SC2016
    (on beta sh -c 'mount --bind "$1" /proc/sys/kernel/random/boot_id && exec mcast archive prune /mnt/deaf2 --keep-last 1' - "$work/boot-id")
    (($(drafts /mnt/deaf1) == 1))
    wait "$sender"
    wait "$receiver"
    mcast archive verify /mnt/deaf2
}

# NFS knows no files without a name, so the partial file has one from the start.
file_on_nfs_is_private_and_has_another_name_until_it_is_complete() {
    local modes
    mkdir /mnt/nfs4/out
    # An earlier file that others may read gives its mode to the new one, at the end.
    echo old >/mnt/nfs4/out/shop.dump
    chmod 644 /mnt/nfs4/out/shop.dump
    umask 022
    receive alpha -o /mnt/nfs4/out/shop.dump --overwrite
    send --rate 2M &
    sender=$!
    wait_until 60 partial_file_grows
    modes=$(find /mnt/nfs4/out -type f ! -name shop.dump -printf '%m\n')
    echo "modes: $modes"
    [[ $modes == 600 && $(</mnt/nfs4/out/shop.dump) == old ]]
    wait "$sender"
    wait "$receiver"
    cmp "$work/stream" /mnt/nfs4/out/shop.dump
    [[ $(ls -A /mnt/nfs4/out) == shop.dump ]]
}
partial_file_grows() { find /mnt/nfs4/out -type f ! -name shop.dump -size +0 | grep -q .; }

make_lan sender alpha beta
if serve_and_mount_nfs >"$work/nfs.log" 2>&1; then
    check archive_on_nfs_4_is_written_verified_and_pruned
    check archive_on_nfs_3_is_written_verified_and_pruned
    check draft_of_a_dead_receiver_on_nfs_4_is_swept
    check draft_of_a_dead_receiver_on_nfs_3_is_swept
    check growing_draft_of_another_host_is_not_swept
    check file_on_nfs_is_private_and_has_another_name_until_it_is_complete
else
    say "FAILED  the NFS server or a mount: $(tail -n 5 "$work/nfs.log")"
fi
for mount in /mnt/*; do umount -f -l "$mount" 2>/dev/null; done
systemctl stop nfs-server.service
for host in switch sender alpha beta; do ip netns del "$host"; done

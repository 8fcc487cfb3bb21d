# shellcheck shell=bash disable=SC2154
# The kernel serves a directory to itself over SMB.

serve_and_mount_cifs() {
    mkdir -p /srv/share /mnt/cifs /etc/ksmbd
    printf '[global]\nserver string = guest\n[dumps]\npath = /srv/share\nread only = no\n' >/etc/ksmbd/ksmbd.conf
    ksmbd.adduser -a root -p secret || ksmbd.adduser --add-user=root --password=secret
    systemctl restart ksmbd.service
    wait_until 10 mount -t cifs -o username=root,password=secret,vers=3.1.1 //127.0.0.1/dumps /mnt/cifs
}

archive_on_cifs_is_written_verified_and_pruned() { archive_is_written_verified_and_pruned_on /mnt/cifs; }

make_lan sender alpha beta
if serve_and_mount_cifs >"$work/cifs.log" 2>&1; then
    check archive_on_cifs_is_written_verified_and_pruned
else
    say "FAILED  the SMB server or its mount: $(tail -n 5 "$work/cifs.log")"
fi
umount -f -l /mnt/cifs 2>/dev/null
for host in switch sender alpha beta; do ip netns del "$host"; done

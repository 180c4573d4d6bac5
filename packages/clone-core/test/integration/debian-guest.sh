#!/bin/bash
# debian-guest.sh FOLDER: a Debian 12 with systemd, cloud-init, networkd, OpenSSH and a guest agent, from Debian packages:
# FOLDER/disk.qcow2 (one ext4 partition, no boot loader), FOLDER/vmlinuz and FOLDER/initrd.img to boot it with.
# `bare` as second word: without cloud-init, and with a machine id and SSH host keys baked in, as in a template made by hand.
set -euo pipefail
to=$1 kind=${2:-}
export PATH=$PATH:/usr/sbin:/sbin
packages=systemd-sysv,udev,dbus,linux-image-cloud-amd64,initramfs-tools,zstd,qemu-guest-agent,openssh-server,iproute2,netbase
[ "$kind" = bare ] || packages=$packages,cloud-init
mkdir -p "$to"
work=$(mktemp -d -p "$to")
trap 'rm -rf "$work"' EXIT
root=$work/root
mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --aptopt='APT::Install-Recommends "false"' bookworm "$root"
echo debian-template > "$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 debian-template\n' > "$root/etc/hosts"
echo '/dev/vda1 / ext4 rw 0 1' > "$root/etc/fstab"
chroot "$root" systemctl -q enable systemd-networkd
printf '[Match]\nType=ether\n\n[Network]\nDHCP=yes\n' > "$root/etc/systemd/network/80-dhcp.network"
rm -f "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*_*
if [ "$kind" != bare ]; then
  # As a template that was booted once and never cleaned.
  rm "$root/etc/systemd/network/80-dhcp.network"
  # As in images made for one kind of host: cloud-init then asks for no drive, and takes the lack of one for a new machine.
  echo 'datasource_list: [NoCloud, None]' > "$root/etc/cloud/cloud.cfg.d/95_pinned.cfg"
fi
echo 0123456789abcdef0123456789abcdef > "$root/etc/machine-id"
cp "$root"/boot/vmlinuz-* "$to/vmlinuz"
cp "$root"/boot/initrd.img-* "$to/initrd.img"
chmod 644 "$to/vmlinuz" "$to/initrd.img"
truncate -s 1500M "$work/disk.raw"
printf 'label: dos\n2048,,83,*\n' | sfdisk -q "$work/disk.raw"
mke2fs -q -t ext4 -d "$root" -E offset=1048576 -F "$work/disk.raw" 1530000k
qemu-img convert -c -O qcow2 "$work/disk.raw" "$work/disk.qcow2"
mv "$work/disk.qcow2" "$to/disk.qcow2"

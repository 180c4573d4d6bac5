# Sourced by build.sh: a disk with a FAT boot partition (syslinux for BIOS, systemd-boot for UEFI) and an ext4 root.

boot_mib=24
root_mib=64
cmdline='root=LABEL=sample-root ro console=tty0 console=ttyS0 quiet loglevel=4 net.ifnames=0'

make_disk() {
  local work=$1 out=$2 x=$1/x kernel boot=$1/boot.img rootfs=$1/root.img disk=$1/disk.img
  export PATH=$PATH:/usr/sbin:/sbin MTOOLS_SKIP_CHECK=1
  kernel=$(find "$x" -path "*/boot/vmlinuz-$kernel_version" | head -n 1)
  mtools() { "$x/usr/bin/mtools" -c "$@"; }

  truncate -s "${boot_mib}M" "$boot"
  "$(find "$x" -name mkfs.fat -type f | head -n 1)" -n BOOT "$boot" > /dev/null
  mtools mcopy -i "$boot" "$kernel" ::vmlinuz
  mtools mcopy -i "$boot" "$work/initrd.gz" ::initrd
  printf 'DEFAULT sample\nPROMPT 0\nTIMEOUT 0\nLABEL sample\n LINUX /vmlinuz\n INITRD /initrd\n APPEND %s\n' "$cmdline" > "$work/syslinux.cfg"
  mtools mcopy -i "$boot" "$work/syslinux.cfg" ::syslinux.cfg
  mtools mmd -i "$boot" ::EFI ::EFI/BOOT ::loader ::loader/entries
  mtools mcopy -i "$boot" "$x/usr/lib/systemd/boot/efi/systemd-bootx64.efi" ::EFI/BOOT/BOOTX64.EFI
  printf 'timeout 0\n' > "$work/loader.conf"
  printf 'title Offshoot sample guest\nlinux /vmlinuz\ninitrd /initrd\noptions %s\n' "$cmdline" > "$work/sample.conf"
  mtools mcopy -i "$boot" "$work/loader.conf" ::loader/loader.conf
  mtools mcopy -i "$boot" "$work/sample.conf" ::loader/entries/sample.conf

  truncate -s "${root_mib}M" "$rootfs"
  mke2fs -q -t ext4 -L sample-root -E root_owner=0:0 -d "$work/root" "$rootfs"
  if [ "$(id -u)" != 0 ]; then
    # Files belong to whoever built; in the guest they must be root's.
    (cd "$work/root" && find . -mindepth 1 | while read -r path; do printf 'sif "%s" uid 0\nsif "%s" gid 0\n' "${path#.}" "${path#.}"; done) > "$work/owners"
    debugfs -w -f "$work/owners" "$rootfs" > /dev/null 2>&1
  fi

  truncate -s "$((1 + boot_mib + root_mib + 1))M" "$disk"
  printf 'label: dos\nstart=2048,size=%s,type=ef,bootable\nstart=%s,size=%s,type=83\n' \
    "$((boot_mib * 2048))" "$((2048 + boot_mib * 2048))" "$((root_mib * 2048))" | sfdisk -q "$disk"
  dd if="$(find "$x" -path '*/mbr/mbr.bin' | head -n 1)" of="$disk" bs=440 count=1 conv=notrunc status=none
  dd if="$boot" of="$disk" bs=1M seek=1 conv=notrunc,sparse status=none
  dd if="$rootfs" of="$disk" bs=1M seek="$((1 + boot_mib))" conv=notrunc,sparse status=none
  # syslinux calls mcopy and mattrib by name
  ln -sf "$x/usr/bin/mtools" "$work/mcopy"; ln -sf "$x/usr/bin/mtools" "$work/mattrib"; ln -sf "$x/usr/bin/mtools" "$work/mmove"
  PATH=$work:$PATH "$x/usr/bin/syslinux" --install --offset "$((2048 * 512))" "$disk"
  qemu-img convert -q -c -O qcow2 "$disk" "$out"
}

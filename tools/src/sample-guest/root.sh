# Sourced by build.sh: lays out the guest's root filesystem in $work/root.

# Kernel modules of the guest; what they depend on comes along. One that is built into the kernel is skipped.
guest_modules='virtio_pci virtio_blk virtio_scsi virtio_net virtio_console virtio-rng virtio_balloon sd_mod sr_mod
 ext4 isofs fat vfat nls_ascii nls_cp437 nls_iso8859-1 button evdev psmouse qemu_fw_cfg vmgenid tpm_tis tpm_crb'

# install_modules TREE NAME…: copies modules and their dependencies, unpacked, and writes the tree's indexes.
install_modules() {
  local tree=$1 name path file; shift
  local from=$modules to=$tree/usr/lib/modules/$kernel_version
  mkdir -p "$to"
  for name in "$@"; do
    # modules.dep: "path/a.ko: path/b.ko path/c.ko"; - and _ are the same in a module's name
    for path in $(awk -v want="${name//-/_}" -F: '{ n = $1; sub(/.*\//, "", n); sub(/\.ko.*/, "", n); gsub(/-/, "_", n); if (n == want) print $1, $2 }' "$from/modules.dep"); do
      file=$to/${path%.ko*}.ko
      [ ! -e "$file" ] || continue
      mkdir -p "$(dirname "$file")"
      case $path in
        *.xz) xz -dc "$from/$path" > "$file" ;;
        *.zst) zstd -qdc "$from/$path" > "$file" ;;
        *) cp "$from/$path" "$file" ;;
      esac
    done
  done
  cp "$from"/modules.{order,builtin,builtin.modinfo} "$to/"
  PATH=$PATH:/usr/sbin:/sbin depmod -b "$tree/usr" -m /lib/modules "$kernel_version" 2>/dev/null || PATH=$PATH:/usr/sbin:/sbin depmod -b "$tree" "$kernel_version"
}

# copy_program PATH: a program and the shared libraries it needs, found by the unpacked loader itself.
copy_program() {
  local x=$1 root=$2 program=$3 loader library
  loader=$(find "$x" -name ld-linux-x86-64.so.2 \( -type f -o -type l \) | head -n 1)
  install -D -m 755 "$x$program" "$root$program"
  "$loader" --library-path "$x/usr/lib/x86_64-linux-gnu:$x/lib/x86_64-linux-gnu" --list "$x$program" |
    sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | while read -r library; do
      case $library in "$x"/*) ;; *) die "$program needs $library, which no downloaded package holds." ;; esac
      install -D -m 644 "$library" "$root/usr/lib/x86_64-linux-gnu/$(basename "$library")"
    done
  install -D -m 755 "$loader" "$root/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
}

make_root() {
  local work=$1 overlay=$2 applet
  root=$work/root x=$work/x
  modules=$(find "$x" -type d -path "*/lib/modules/$kernel_version" | head -n 1)
  PATH=$PATH:/usr/sbin:/sbin depmod -b "${modules%/lib/modules/*}" "$kernel_version"
  mkdir -p "$root"/{dev,proc,sys,run,tmp,mnt,root,etc/dropbear,var/lib,var/log,lib64,usr/bin,usr/sbin,usr/lib/x86_64-linux-gnu}
  ln -s usr/bin "$root/bin"; ln -s usr/sbin "$root/sbin"; ln -s usr/lib "$root/lib"; ln -s ../run "$root/var/run"
  ln -s ../usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 "$root/lib64/ld-linux-x86-64.so.2"
  busybox=$(find "$x" -path '*/bin/busybox' -type f | head -n 1)
  cp "$busybox" "$root/usr/bin/busybox"
  for applet in $("$busybox" --list | grep -vx busybox); do ln -s busybox "$root/usr/bin/$applet"; done
  for applet in init getty reboot poweroff halt acpid udhcpc; do ln -s ../bin/busybox "$root/usr/sbin/$applet"; done
  copy_program "$x" "$root" /usr/sbin/qemu-ga
  copy_program "$x" "$root" /usr/sbin/dropbear
  copy_program "$x" "$root" /usr/bin/dropbearkey
  # shellcheck disable=SC2086 # a list of words
  install_modules "$root" $guest_modules
  cp -a "$overlay/." "$root/"
  chmod 755 "$root"/etc/init.d/* "$root"/etc/acpi/*/* "$root/usr/sbin/shutdown" "$root/etc/udhcpc.script"
  chmod 700 "$root/root" "$root/etc/dropbear"; chmod 1777 "$root/tmp"
  : > "$root/etc/machine-id"
}

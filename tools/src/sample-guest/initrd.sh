# Sourced by build.sh: an initial RAM disk that finds the root filesystem by its label and hands over.

make_initrd() {
  local work=$1 tree=$1/initrd
  mkdir -p "$tree"/{bin,dev,proc,sys,new,usr/lib}
  ln -s usr/lib "$tree/lib"
  cp "$busybox" "$tree/bin/busybox"
  install_modules "$tree" virtio_pci virtio_blk virtio_scsi sd_mod ext4
  cat > "$tree/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev; $b mount -t proc proc /proc; $b mount -t sysfs sys /sys
for module in virtio_pci virtio_blk virtio_scsi sd_mod ext4; do $b modprobe -q $module; done
tries=0
while [ $tries -lt 200 ]; do
  disk=$($b findfs LABEL=sample-root 2>/dev/null) && break
  $b usleep 50000; tries=$((tries + 1))
done
if ! $b mount -t ext4 -o ro "$disk" /new; then
  echo 'Sample guest: no disk labelled sample-root was found. Is the disk on a virtio bus?'
  exec $b sh
fi
$b umount /proc /sys
$b mount -o move /dev /new/dev
exec $b switch_root /new /sbin/init </new/dev/console >/new/dev/console 2>&1
INIT
  chmod 755 "$tree/init"
  (cd "$tree" && find . | LC_ALL=C sort | "$busybox" cpio -o -H newc 2>/dev/null | gzip -9) > "$work/initrd.gz"
}

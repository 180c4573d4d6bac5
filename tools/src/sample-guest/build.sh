#!/usr/bin/env bash
# Builds the sample guest: a small Linux made of this machine's distribution packages, bootable by BIOS and UEFI.
# Nothing is installed, mounted or run as root; the packages are only downloaded and unpacked in a work folder.
# Usage: build.sh OUT.qcow2      Lines on standard output say what it does; errors go to standard error.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(realpath -m "$1")
folder=$(dirname "$out")
# One builder a folder; whoever waited finds the image made. The kernel frees the lock of a builder that was killed.
exec 9> "$folder/.sample-build.lock"
flock 9
[ ! -e "$out" ] || exit 0
rm -rf "$folder"/.sample-build.??????
work=$(mktemp -d "$folder/.sample-build.XXXXXX")
trap 'rm -rf "$work"' EXIT

die() { echo "$*" >&2; exit 1; }
[ "$(dpkg --print-architecture)" = amd64 ] || die "The sample guest can be built on amd64 only; this machine is $(dpkg --print-architecture)."

. "$here/packages.sh"
. "$here/root.sh"
. "$here/initrd.sh"
. "$here/disk.sh"

echo 'downloading packages'
fetch_packages "$work"
echo "assembling the root filesystem around Linux $kernel_version"
make_root "$work" "$here/rootfs"
make_initrd "$work"
echo 'assembling the disk'
make_disk "$work" "$work/sample.qcow2"
sync "$work/sample.qcow2"
mv "$work/sample.qcow2" "$out"

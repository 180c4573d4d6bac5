# Sourced by build.sh: finds, downloads and unpacks packages into $work/x; sets kernel_version.

# The distribution's smallest kernel made for guests. Ubuntu keeps its modules in a package of their own.
kernel_packages() {
  local meta image
  for meta in linux-image-cloud-amd64 linux-image-virtual; do
    image=$(apt-cache depends --important "$meta" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
    [ -z "$image" ] || break
  done
  [ -n "$image" ] || die 'No kernel package for guests is known to apt (linux-image-cloud-amd64 or linux-image-virtual). Run: apt-get update'
  kernel_version=${image#linux-image-}
  echo "$image"
  apt-cache show "linux-modules-$kernel_version" >/dev/null 2>&1 && echo "linux-modules-$kernel_version" || true
}

# Libraries that packages need, and those they need. One call: each reads apt's whole cache. Perl comes with a helper
# of Debian's package scripts, which never run here.
library_packages() {
  apt-cache depends --recurse --important "$@" | grep -E '^(lib|zlib1g)' | grep -v perl | sort -u
}

fetch_packages() {
  local work=$1 kernels deb
  mkdir -p "$work/deb" "$work/x"
  # Not in $( ): the function also sets kernel_version.
  kernel_packages > "$work/kernels"
  mapfile -t kernels < "$work/kernels"
  local wanted=("${kernels[@]}" busybox-static qemu-guest-agent dropbear-bin mtools dosfstools syslinux syslinux-common systemd-boot-efi)
  mapfile -t -O "${#wanted[@]}" wanted < <(library_packages qemu-guest-agent dropbear-bin)
  (cd "$work/deb" && apt-get download -qq -o APT::Sandbox::User= "${wanted[@]}" 2> ../apt.err) ||
    die "apt could not download the sample guest's packages: $(tail -n 3 "$work/apt.err" | tr '\n' ' ')Run apt-get update, and check that this machine reaches its package mirror."
  for deb in "$work"/deb/*.deb; do dpkg-deb -x "$deb" "$work/x"; done
  rm -rf "$work/deb"
}

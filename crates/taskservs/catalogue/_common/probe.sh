# What this machine is, in lines of key=value. Changes nothing and needs no rights.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
(
	ID=; VERSION_ID=; VERSION_CODENAME=
	# shellcheck disable=SC1091
	[ -r /etc/os-release ] && . /etc/os-release
	printf 'os=%s\nos_version=%s\nos_codename=%s\n' "$ID" "$VERSION_ID" "$VERSION_CODENAME"
)
machine=$(uname -m)
case $machine in
x86_64) machine=amd64 ;;
aarch64) machine=arm64 ;;
esac
printf 'arch=%s\nkernel=%s\n' "$machine" "$(uname -r)"
if [ -d /run/systemd/system ]; then echo init=systemd; else echo init=none; fi
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then echo cgroup=2; else echo cgroup=1; fi
printf 'cores=%s\n' "$(getconf _NPROCESSORS_ONLN 2>/dev/null || nproc 2>/dev/null || echo 1)"
while read -r key value _; do
	case $key in
	MemTotal:) printf 'memory_mb=%s\n' $((value / 1024)) ;;
	esac
done </proc/meminfo
df -Pk /var 2>/dev/null | while read -r _ _ _ free _; do
	case $free in
	*[!0-9]* | '') ;;
	*) printf 'disk_mb=%s\n' $((free / 1024)) ;;
	esac
done
if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then echo root=yes; else echo root=no; fi

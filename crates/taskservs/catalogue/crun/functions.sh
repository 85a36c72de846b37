more_preflight() {
	if [ ! -f /sys/fs/cgroup/cgroup.controllers ] && ! [ -d /sys/fs/cgroup/systemd ]; then
		problem "this machine has neither unified control groups nor a systemd hierarchy: take runc"
	elif [ ! -f /sys/fs/cgroup/cgroup.controllers ]; then
		warning "control groups are of version 1: crun may refuse containers, runc does not"
	fi
}
is_healthy() {
	work=$(mktemp -d)
	if (cd "$work" && crun spec && [ -s config.json ]); then
		rm -rf "$work"
		crun --version
	else
		rm -rf "$work"
		echo "crun writes no specification"
		return 1
	fi
}
installed_version() { crun --version | sed -n '1s/^[^0-9]*\([0-9][0-9.]*\).*$/\1/p'; }

is_healthy() {
	work=$(mktemp -d)
	if (cd "$work" && runc spec && [ -s config.json ]); then
		rm -rf "$work"
		runc --version
	else
		rm -rf "$work"
		echo "runc writes no specification"
		return 1
	fi
}
installed_version() { runc --version | sed -n '1s/^[^0-9]*\([0-9][0-9.]*\).*$/\1/p'; }

is_healthy() {
	work=$(mktemp -d)
	if (cd "$work" && youki spec && [ -s config.json ]); then
		rm -rf "$work"
		youki --version
	else
		rm -rf "$work"
		echo "youki writes no specification"
		return 1
	fi
}
installed_version() { youki --version | sed -n '1s/^[^0-9]*\([0-9][0-9.]*\).*$/\1/p'; }

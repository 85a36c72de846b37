after_configure() {
	if [ -n "$P_registry" ]; then
		set -- --username "$P_username" --password-stdin
		if [ "$P_plain_http" = yes ]; then set -- "$@" --plain-http; fi
		printf '%s' "$P_password" | oras login "$@" "$P_registry" || fail "the registry refuses the login"
	fi
}
is_healthy() { oras version; }
before_remove() { if [ -n "$P_registry" ] && has oras; then oras logout "$P_registry" || :; fi; }
installed_version() { oras version | sed -n 's/^Version: *\([0-9.]*\).*/\1/p'; }

as_radicle() { (cd "$P_data_dir" && RAD_HOME=$P_data_dir RAD_PASSPHRASE=$P_passphrase HOME=$P_data_dir exec setpriv --reuid radicle --regid radicle --init-groups -- "$@"); }
more_preflight() { has git || problem "there is no git: add it to the packages of taskserv os"; }
before_start() {
	if [ ! -f "$P_data_dir/keys/radicle" ]; then
		as_radicle rad auth --alias "$P_alias"
		changed "a key for the node"
	fi
}
is_healthy() {
	listens tcp "$P_port" || { echo "nothing listens on port $P_port"; return 1; }
	as_radicle rad node status | head -n 1
}
health_facts() { fact node "$(as_radicle rad self --nid)"; }
installed_version() { rad --version | sed 's/^[^0-9]*\([0-9.]*\).*$/\1/'; }

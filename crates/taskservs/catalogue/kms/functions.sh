is_healthy() {
	if [ "${V_url%%:*}" = https ]; then
		listens tcp "$P_port" || { echo "nothing listens on port $P_port"; return 1; }
	else
		get "$V_url/version"
	fi
}
health_facts() { fact url "$V_url"; }
installed_version() { cosmian_kms_server --version | sed 's/^[^0-9]*\([0-9.]*\).*$/\1/'; }

is_healthy() {
	listens tcp "$P_port" || { echo "nothing listens on port $P_port"; return 1; }
	listens tcp 3350 || { echo "the session service does not listen"; return 1; }
	echo "RDP on port $P_port"
}
installed_version() { plain_version "$(package_version xrdp)"; }

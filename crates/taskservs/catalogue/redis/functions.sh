# The password goes by the environment: arguments can be read by everybody on the machine.
ask() { REDISCLI_AUTH=$P_password redis-cli -h "$V_address" -p "$P_port" --no-auth-warning "$@"; }
is_healthy() {
	answer=$(ask PING 2>&1) || :
	[ "$answer" = PONG ] || { echo "PING is answered with: $answer"; return 1; }
	ask INFO replication >"$REEVE_STATE/replication" || return 1
	role=$(tr -d '\r' <"$REEVE_STATE/replication" | sed -n 's/^role://p')
	[ "$role" = "$V_role" ] || { echo "its role is $role, not $V_role"; return 1; }
	link=$(tr -d '\r' <"$REEVE_STATE/replication" | sed -n 's/^master_link_status://p')
	rm -f "$REEVE_STATE/replication"
	[ -z "$link" ] || [ "$link" = up ] || { echo "its link to the primary is $link"; return 1; }
	echo "PONG, $role"
}
health_facts() {
	fact role "$V_role"
	fact replicas "$(ask INFO replication | tr -d '\r' | sed -n 's/^connected_slaves://p')"
}
installed_version() { redis-server --version | sed -n 's/.* v=\([^ ]*\) .*/\1/p'; }

after_configure() { haproxy -c -q -f /etc/reeve/proxy/haproxy.cfg || fail "haproxy refuses its configuration"; }
is_healthy() {
	get "http://127.0.0.1:$P_stats_port/metrics" >"$REEVE_STATE/metrics" || return 1
	grep -q '^haproxy_process' "$REEVE_STATE/metrics" || { echo "no figures are served"; return 1; }
	rm -f "$REEVE_STATE/metrics"
	while read -r protocol port name; do
		listens "$protocol" "$port" || { echo "$name does not listen on $protocol port $port"; return 1; }
	done <<-END
		$REEVE_PORTS
	END
}
health_facts() {
	up=$(get "http://127.0.0.1:$P_stats_port/;csv" | cut -d, -f2,18 | grep -c '^s[0-9]*,UP' || :)
	fact servers_up "$up"
}
installed_version() { haproxy -v | sed -n 's/^HA-*Proxy version \([0-9.]*\).*/\1/p'; }

ask_rpc() {
	if has curl; then
		curl --silent --fail --noproxy '*' --max-time 5 -H 'Content-Type: application/json' \
			--data '{"id":1,"jsonrpc":"2.0","method":"system_health","params":[]}' "http://127.0.0.1:$P_rpc_port/"
	else
		get "http://127.0.0.1:$P_rpc_port/health"
	fi
}
is_healthy() { ask_rpc; }
health_facts() {
	answer=$(ask_rpc || :)
	fact peers "$(printf '%s' "$answer" | sed -n 's/.*"peers":\([0-9]*\).*/\1/p')"
	fact syncing "$(printf '%s' "$answer" | sed -n 's/.*"isSyncing":\([a-z]*\).*/\1/p')"
}
installed_version() { polkadot --version | sed 's/^[^0-9]*\([0-9.]*\).*$/\1/'; }

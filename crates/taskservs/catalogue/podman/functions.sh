is_healthy() {
	podman info >"$REEVE_STATE/info" 2>&1 || { tail -n 1 "$REEVE_STATE/info"; return 1; }
	grep -A1 'ociRuntime:' "$REEVE_STATE/info" | grep -q "name: $V_runtime" || { echo "its runtime is not $V_runtime"; return 1; }
	rm -f "$REEVE_STATE/info"
	podman --version
}
health_facts() { fact runtime "$V_runtime"; }
installed_version() { podman --version | sed 's/^[^0-9]*//'; }

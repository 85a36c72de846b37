is_healthy() {
	[ -S /run/crio/crio.sock ] || { echo "there is no /run/crio/crio.sock"; return 1; }
	if has crictl; then
		crictl info | grep -q '"RuntimeReady"' || { echo "the runtime is not ready"; return 1; }
	fi
	crio version
}
health_facts() { fact runtime "$V_runtime"; }
installed_version() { crio version 2>/dev/null | sed -n 's/^Version: *//p' | head -n 1; }

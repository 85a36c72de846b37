is_healthy() {
	kubectl version --client || return 1
	if [ "$P_check_cluster" = yes ]; then kubectl --request-timeout=5s get --raw /readyz; fi
}
installed_version() { kubectl version --client -o json | sed -n 's/^ *"gitVersion": "v\([^"+-]*\).*/\1/p' | head -n 1; }

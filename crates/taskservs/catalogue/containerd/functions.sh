client() { ctr --address "$P_state/containerd.sock" --connect-timeout 3s "$@"; }
is_healthy() {
	client version >/dev/null || return 1
	state=$(client plugins list | awk '$2 == "cri" || ($1 ~ /cri/ && $2 == "runtime") {print $NF; exit}')
	[ "$state" = ok ] || { echo "the CRI plugin is ${state:-absent}"; return 1; }
	has "$V_runtime" || { echo "there is no $V_runtime"; return 1; }
	client version | sed -n 's/^ *Version: */containerd /p' | head -n 1
}
health_facts() {
	fact runtime "$V_runtime"
	fact socket "$P_state/containerd.sock"
}
installed_version() { containerd --version | awk '{sub(/^v/, "", $3); sub(/[~+-].*/, "", $3); print $3}'; }

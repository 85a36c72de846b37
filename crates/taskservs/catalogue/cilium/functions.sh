# The one that is set, else what k3s or kubeadm wrote.
kubeconfig() {
	if [ -n "$P_kubeconfig" ]; then
		printf '%s' "$P_kubeconfig"
	elif [ -f /etc/rancher/k3s/k3s.yaml ]; then
		printf '%s' /etc/rancher/k3s/k3s.yaml
	else
		printf '%s' /etc/kubernetes/admin.conf
	fi
}
cli() { KUBECONFIG=$(kubeconfig) cilium "$@"; }
# k3s has kubectl inside.
kube() { if has kubectl; then KUBECONFIG=$(kubeconfig) kubectl "$@"; else KUBECONFIG=$(kubeconfig) k3s kubectl "$@"; fi; }
more_preflight() {
	if [ "$REEVE_FIRST" = yes ] && [ ! -f "$(kubeconfig)" ]; then problem "there is no $(kubeconfig) on the first server: set kubeconfig"; fi
	if [ -n "$P_chart_path" ] && [ "$REEVE_FIRST" = yes ] && [ ! -f "$P_chart_path/Chart.yaml" ]; then problem "there is no chart in $P_chart_path"; fi
	[ -d /sys/fs/bpf ] || problem "this kernel has no BPF file system"
}
after_start() {
	[ "$REEVE_FIRST" = yes ] || return 0
	verb=install
	if kube -n kube-system get daemonset cilium -o name >/dev/null 2>&1; then verb=upgrade; fi
	set -- "$verb" --version "$REEVE_VERSION" --values /etc/reeve/cilium/values.yaml --values /etc/reeve/cilium/more.json
	if [ -n "$P_chart_path" ]; then set -- "$@" --chart-directory "$P_chart_path"; fi
	cli "$@"
	changed "cilium $REEVE_VERSION"
}
is_healthy() {
	get http://127.0.0.1:9879/healthz || { echo "the agent does not answer"; return 1; }
	[ "$REEVE_FIRST" = yes ] || return 0
	cli status --wait --wait-duration 5s >/dev/null || { echo "cilium status is not well"; return 1; }
}
before_remove() {
	if [ "$REEVE_FIRST" = yes ] && [ -f "$(kubeconfig)" ] && has cilium; then cli uninstall --wait || warning "cilium uninstall failed"; fi
}
installed_version() { printf '%s' "$REEVE_VERSION"; }

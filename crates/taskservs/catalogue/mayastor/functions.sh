kube() { KUBECONFIG=$P_kubeconfig kubectl --request-timeout=30s "$@"; }
more_preflight() {
	if [ "$REEVE_FIRST" = yes ] && [ ! -f "$P_kubeconfig" ]; then problem "there is no $P_kubeconfig on the first server: set kubeconfig"; fi
	if [ "$REEVE_ARCH" = amd64 ] && ! grep -qw sse4_2 /proc/cpuinfo; then problem "the processor has no SSE4.2"; fi
	[ -d /sys/kernel/mm/hugepages/hugepages-2048kB ] || problem "this kernel has no huge pages of 2 MB"
	if [ ! -d /sys/module/nvme_tcp ] && ! { has modprobe && modprobe -n nvme_tcp 2>/dev/null; }; then problem "this kernel has no NVMe over TCP"; fi
	for disk in $P_disks; do [ -b "$disk" ] || problem "there is no disk $disk: see ls -l /dev/disk/by-id"; done
}
after_configure() {
	modprobe nvme_tcp 2>/dev/null || [ -d /sys/module/nvme_tcp ] || fail "nvme_tcp cannot be loaded"
	sysctl -q -p /etc/sysctl.d/91-reeve-mayastor.conf
	have=$(cat /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages)
	[ "$have" -ge "$P_huge_pages" ] || fail "the kernel found room for $have of $P_huge_pages huge pages: reboot, and install again"
}
after_start() {
	if [ "$REEVE_FIRST" != yes ]; then return 0; fi
	for node in $(kube get nodes -o 'jsonpath={.items[*].metadata.name}'); do kube label --overwrite node "$node" openebs.io/engine=mayastor; done
	if [ -z "$P_chart_path" ]; then
		KUBECONFIG=$P_kubeconfig helm upgrade --install mayastor mayastor --repo https://openebs.github.io/mayastor-extensions/ \
			--version "$REEVE_VERSION" --namespace mayastor --create-namespace --values /etc/reeve/mayastor/values.yaml --wait --timeout 10m
	else
		KUBECONFIG=$P_kubeconfig helm upgrade --install mayastor "$P_chart_path" --namespace mayastor --create-namespace \
			--values /etc/reeve/mayastor/values.yaml --wait --timeout 10m
	fi
	kube apply -f /etc/reeve/mayastor/pools.yaml
	changed "mayastor $REEVE_VERSION"
}
is_healthy() {
	[ "$(cat /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages)" -ge "$P_huge_pages" ] || { echo "huge pages are missing"; return 1; }
	[ "$REEVE_FIRST" = yes ] || return 0
	state=$(kube -n mayastor get daemonset mayastor-io-engine -o 'jsonpath={.status.numberReady}/{.status.desiredNumberScheduled}')
	if [ -z "$state" ] || [ "${state%/*}" != "${state#*/}" ]; then
		echo "the engine runs on $state nodes"
		return 1
	fi
	echo "the engine runs on $state nodes"
}
before_remove() {
	if [ "$REEVE_FIRST" != yes ] || [ ! -f "$P_kubeconfig" ] || ! has helm; then return 0; fi
	KUBECONFIG=$P_kubeconfig helm uninstall mayastor --namespace mayastor --wait || warning "helm uninstall failed"
}
installed_version() { printf '%s' "$REEVE_VERSION"; }

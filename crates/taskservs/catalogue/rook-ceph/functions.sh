kube() { KUBECONFIG=$P_kubeconfig kubectl --request-timeout=30s "$@"; }
more_preflight() {
	if [ "$REEVE_FIRST" = yes ] && [ ! -f "$P_kubeconfig" ]; then problem "there is no $P_kubeconfig on the first server: set kubeconfig"; fi
	for device in $P_devices; do
		[ -b "/dev/$device" ] || problem "there is no disk /dev/$device: see lsblk"
		if has lsblk && [ -n "$(lsblk -no FSTYPE "/dev/$device" 2>/dev/null | tr -d '[:space:]')" ]; then problem "/dev/$device is not empty: it would be overwritten"; fi
	done
}
after_start() {
	[ "$REEVE_FIRST" = yes ] || return 0
	home=/opt/reeve/rook-ceph/$REEVE_VERSION/bin
	kube apply --server-side -f "$home/rook-crds.yaml" -f "$home/rook-common.yaml" -f "$home/rook-operator.yaml"
	kube -n rook-ceph rollout status deployment/rook-ceph-operator --timeout=300s
	kube apply -f /etc/reeve/rook-ceph/cluster.yaml
	changed "the cluster's storage"
}
is_healthy() {
	[ "$REEVE_FIRST" = yes ] || return 0
	kube -n rook-ceph get deployment rook-ceph-operator -o 'jsonpath={.status.availableReplicas}' | grep -q '^[1-9]' || { echo "the operator is not available"; return 1; }
	health=$(kube -n rook-ceph get cephcluster rook-ceph -o 'jsonpath={.status.ceph.health}')
	case $health in HEALTH_OK | HEALTH_WARN) echo "$health" ;; *) echo "Ceph is ${health:-not there yet}"; return 1 ;; esac
}
before_remove() {
	if [ "$REEVE_FIRST" != yes ] || [ ! -f "$P_kubeconfig" ]; then return 0; fi
	if [ "$REEVE_PURGE" = yes ]; then
		kube -n rook-ceph patch cephcluster rook-ceph --type merge -p '{"spec":{"cleanupPolicy":{"confirmation":"yes-really-destroy-data"}}}' || :
		kube delete -f /etc/reeve/rook-ceph/cluster.yaml --ignore-not-found --timeout=300s || warning "the storage is still being deleted"
	else
		warning "CephCluster rook-ceph stays in the cluster: delete with its data, or by kubectl"
	fi
}
installed_version() { printf '%s' "$REEVE_VERSION"; }

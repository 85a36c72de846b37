ctl() {
	if [ "$P_tls" = yes ]; then
		set -- --cacert=/etc/reeve/etcd/ca.pem --cert=/etc/reeve/etcd/cert.pem --key=/etc/reeve/etcd/key.pem "$@"
	fi
	ETCDCTL_API=3 etcdctl --endpoints="$V_endpoint" --dial-timeout=2s --command-timeout=4s "$@"
}
is_healthy() { ctl endpoint health; }
health_facts() {
	members=$(ctl member list 2>/dev/null | wc -l)
	well=$(ctl endpoint health --cluster 2>&1 | grep -c 'is healthy' || :)
	fact members "$members"
	fact healthy "$well"
	fact quorum $((members / 2 + 1))
	fact endpoint "$V_endpoint"
}
installed_version() { etcd --version | sed -n 's/^etcd Version: //p'; }

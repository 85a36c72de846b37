k3s_is_it() { [ "$P_distribution" = k3s ]; }
kube() {
	if k3s_is_it; then
		KUBECONFIG=/etc/rancher/k3s/k3s.yaml k3s kubectl --request-timeout=5s "$@"
	else
		KUBECONFIG=/etc/kubernetes/admin.conf kubectl --request-timeout=5s "$@"
	fi
}
more_preflight() {
	if [ "$(wc -l </proc/swaps)" -gt 1 ]; then problem "there is swap: install taskserv os with kubernetes: true"; fi
	[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ] || problem "net.ipv4.ip_forward is 0: install taskserv os with kubernetes: true"
	if [ -n "$P_images_path" ] && [ ! -f "$P_images_path" ]; then problem "there is no file $P_images_path"; fi
	if ! k3s_is_it; then
		is_systemd || problem "the kubelet needs systemd as process 1: take distribution k3s on this machine"
		[ -f /proc/sys/net/bridge/bridge-nf-call-iptables ] || problem "module br_netfilter is not loaded: install taskserv os with kubernetes: true"
	fi
}
after_install() { if ! k3s_is_it && has apt-mark; then apt-mark hold kubelet kubeadm kubectl >/dev/null; fi; }
after_configure() {
	[ -n "$P_images_path" ] || return 0
	if k3s_is_it; then
		mkdir -p /var/lib/rancher/k3s/agent/images
		cp "$P_images_path" "/var/lib/rancher/k3s/agent/images/reeve-${P_images_path##*/}"
	else
		if has ctr && [ -S /run/containerd/containerd.sock ]; then
			ctr -n k8s.io images import "$P_images_path" >/dev/null || fail "the images in $P_images_path cannot be imported"
		else
			has podman || fail "importing images for CRI-O needs podman"
			podman load --quiet --input "$P_images_path" >/dev/null
		fi
	fi
	changed "images of $P_images_path"
}
after_start() {
	if k3s_is_it; then return 0; fi
	systemctl enable --quiet kubelet
	if [ -f /etc/kubernetes/kubelet.conf ]; then
		say "this server is in the cluster"
		return 0
	fi
	if [ "$REEVE_FIRST" = yes ]; then
		kubeadm init --config /etc/reeve/kubernetes/kubeadm.yaml --upload-certs >"$REEVE_STATE/kubeadm.log" 2>&1 || {
			tail -n 30 "$REEVE_STATE/kubeadm.log"
			fail "kubeadm init failed"
		}
	else
		[ -n "$V_ca_hash" ] || fail "the first server told no hash of its authority: install it first"
		kubeadm join --config /etc/reeve/kubernetes/kubeadm.yaml >"$REEVE_STATE/kubeadm.log" 2>&1 || {
			tail -n 30 "$REEVE_STATE/kubeadm.log"
			fail "kubeadm join failed"
		}
	fi
	# It tells tokens.
	rm -f "$REEVE_STATE/kubeadm.log"
	changed "this server is in the cluster"
}
is_healthy() {
	if k3s_is_it && [ "$V_control_plane" = no ]; then
		[ -f /var/lib/rancher/k3s/agent/kubelet.kubeconfig ] || { echo "it has not joined"; return 1; }
	fi
	get http://127.0.0.1:10248/healthz || { echo "the kubelet is not well"; return 1; }
	[ "$V_control_plane" = yes ] || return 0
	kube get --raw /readyz || return 1
	kube get node "$REEVE_HOSTNAME" -o name
}
health_facts() {
	fact endpoint "https://$V_endpoint"
	if [ "$V_control_plane" = yes ]; then
		fact nodes "$(kube get nodes -o name | wc -l)"
		fact nodes_ready "$(kube get nodes -o 'jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' | grep -c True || :)"
		if k3s_is_it; then fact kubeconfig /etc/rancher/k3s/k3s.yaml; else fact kubeconfig /etc/kubernetes/admin.conf; fi
	fi
}
record_exports() {
	if [ "$REEVE_FIRST" = yes ] && [ -f /etc/kubernetes/pki/ca.crt ]; then
		export_value ca_hash "sha256:$(openssl x509 -pubkey -noout -in /etc/kubernetes/pki/ca.crt | openssl pkey -pubin -outform der | sha256sum | cut -d' ' -f1)"
	fi
}
before_remove() {
	if k3s_is_it; then return 0; fi
	if has kubeadm && [ -d /etc/kubernetes/manifests ]; then kubeadm reset --force >/dev/null 2>&1 || warning "kubeadm reset failed"; fi
	if has apt-mark; then apt-mark unhold kubelet kubeadm kubectl >/dev/null 2>&1 || :; fi
}
after_remove() {
	if k3s_is_it && [ "$REEVE_PURGE" = yes ]; then
		awk '$2 ~ "^/(run/k3s|var/lib/kubelet|var/lib/rancher/k3s)" {print $2}' /proc/mounts | sort -r | while read -r mount; do
			umount "$mount" || :
		done
		rm -rf /var/lib/rancher/k3s /etc/rancher/k3s /run/k3s /var/lib/kubelet
	fi
}
installed_version() {
	if k3s_is_it; then k3s --version | sed -n '1s/^k3s version v\([0-9.]*\).*/\1/p'; else kubeadm version -o short | tr -d v; fi
}

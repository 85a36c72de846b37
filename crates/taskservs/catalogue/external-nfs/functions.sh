more_preflight() {
	if [ "$P_server" = kernel ] && ! grep -qw nfsd /proc/filesystems && ! { has modprobe && modprobe -n nfsd 2>/dev/null; }; then
		problem "this kernel has no NFS server: set server to ganesha"
	fi
}
after_configure() {
	for path in $V_paths; do
		if [ ! -d "$path" ]; then
			mkdir -p "$path"
			remember "$REEVE_STATE/data" "$path"
			changed "$path"
		fi
	done
	mkdir -p /var/lib/nfs/ganesha
}
before_start() {
	[ "$P_server" = kernel ] || return 0
	if is_systemd; then
		systemctl enable --now --quiet nfs-kernel-server
	else
		mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
		has rpcbind && { pgrep -x rpcbind >/dev/null 2>&1 || rpcbind; }
		rpc.nfsd 8
		pgrep -x rpc.mountd >/dev/null 2>&1 || rpc.mountd
	fi
	exportfs -ra
}
is_healthy() {
	if [ "$P_server" = kernel ]; then
		for path in $V_paths; do
			exportfs -s | grep -q "^$path " || { echo "$path is not exported"; return 1; }
		done
	fi
	listens tcp "$P_port" || { echo "nothing listens on port $P_port"; return 1; }
	echo "exports $(printf '%s' "$V_paths" | tr '\n' ' ')"
}
before_remove() {
	if [ "$P_server" = kernel ] && has exportfs; then
		for path in $V_paths; do exportfs -u "*:$path" 2>/dev/null || :; done
	fi
}
after_remove() { if [ "$P_server" = kernel ] && has exportfs; then exportfs -ra || :; fi; }
installed_version() {
	if [ "$P_server" = kernel ]; then plain_version "$(package_version nfs-kernel-server)"; else plain_version "$(package_version nfs-ganesha)"; fi
}

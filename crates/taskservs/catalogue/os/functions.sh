BEGIN_HOSTS='# BEGIN Reeve'
END_HOSTS='# END Reeve'
more_preflight() {
	if [ -n "$P_timezone" ] && [ -d /usr/share/zoneinfo ] && [ ! -f "/usr/share/zoneinfo/$P_timezone" ]; then
		problem "there is no time zone $P_timezone: see /usr/share/zoneinfo"
	fi
}
after_install() {
	if [ -n "$P_packages" ]; then
		# shellcheck disable=SC2086 # a list of names
		install_packages $P_packages
	fi
}
# /etc/hosts without our block; a container's is a mount point that can only be written.
hosts_without() { sed "/^$BEGIN_HOSTS\$/,/^$END_HOSTS\$/d" /etc/hosts; }
write_hosts() {
	if ! cmp -s "$1" /etc/hosts; then
		cat "$1" >/etc/hosts
		changed /etc/hosts
	fi
	rm -f "$1"
}
after_configure() {
	if [ "$P_set_hostname" = yes ] && [ "$(hostname)" != "$REEVE_HOSTNAME" ]; then
		[ -f "$REEVE_STATE/hostname" ] || hostname >"$REEVE_STATE/hostname"
		hostname "$REEVE_HOSTNAME"
		echo "$REEVE_HOSTNAME" >/etc/hostname
		changed "the machine's name is $REEVE_HOSTNAME"
	fi
	if [ -n "$V_hosts" ]; then
		{ hosts_without; printf '%s\n%s\n%s\n' "$BEGIN_HOSTS" "$V_hosts" "$END_HOSTS"; } >"$REEVE_STATE/hosts"
		write_hosts "$REEVE_STATE/hosts"
	fi
	if [ -n "$P_timezone" ] && [ "$(readlink /etc/localtime || :)" != "/usr/share/zoneinfo/$P_timezone" ]; then
		ln -sfn "/usr/share/zoneinfo/$P_timezone" /etc/localtime
		echo "$P_timezone" >/etc/timezone
		changed "time zone $P_timezone"
	fi
	for user in $V_users; do
		if ! id "$user" >/dev/null 2>&1; then
			useradd --create-home --shell /bin/sh --password '*' "$user"
			changed "user $user"
		fi
		home=$(getent passwd "$user" | cut -d: -f6)
		install -d -m 0700 -o "$user" "$home/.ssh"
		touch "$home/.ssh/authorized_keys"
		while read -r key; do remember "$home/.ssh/authorized_keys" "$key"; done <"/etc/reeve/os/keys/$user"
		chown "$user" "$home/.ssh/authorized_keys"
		chmod 0600 "$home/.ssh/authorized_keys"
	done
	for module in $V_modules; do
		grep -q "^$(printf '%s' "$module" | tr - _) " /proc/modules || modprobe "$module" || warning "module $module is not loaded: it may be part of the kernel"
	done
	if [ -f /etc/sysctl.d/90-reeve.conf ] && remembered "$REEVE_STATE/configured" /etc/sysctl.d/90-reeve.conf; then
		sysctl -q -p /etc/sysctl.d/90-reeve.conf || fail "the kernel refuses a setting of /etc/sysctl.d/90-reeve.conf"
	fi
	if [ "$V_swap_off" = yes ] && [ "$(wc -l </proc/swaps)" -gt 1 ]; then
		swapoff -a
		sed -i.reeve -E 's/^([^#].*[[:space:]]swap[[:space:]].*)$/# \1 # Reeve/' /etc/fstab
		changed "swap is off"
	fi
	if [ -n "$P_time_servers" ] && is_systemd; then systemctl try-restart systemd-timesyncd || :; fi
}
is_healthy() {
	if [ "$P_set_hostname" = yes ]; then
		[ "$(hostname)" = "$REEVE_HOSTNAME" ] || { echo "its name is $(hostname)"; return 1; }
	fi
	if [ -n "$V_hosts" ]; then
		# Not "hosts": that asks for an IPv6 address first, and waits for name servers that may not answer.
		getent ahosts "$REEVE_HOSTNAME" >/dev/null || { echo "$REEVE_HOSTNAME is not found"; return 1; }
	fi
	if [ "$V_swap_off" = yes ]; then
		[ "$(wc -l </proc/swaps)" -le 1 ] || { echo "there is swap"; return 1; }
	fi
	if remembered "$REEVE_STATE/configured" /etc/sysctl.d/90-reeve.conf; then
		sed -n 's/^\([^#][^ =]*\) *= *\(.*\)$/\1 \2/p' /etc/sysctl.d/90-reeve.conf >"$REEVE_STATE/look"
		while read -r name value; do
			is=$(sysctl -n "$name" | tr '\t' ' ')
			[ "$is" = "$value" ] || { echo "$name is $is, not $value"; return 1; }
		done <"$REEVE_STATE/look"
		rm -f "$REEVE_STATE/look"
	fi
	echo "$(hostname), kernel $(uname -r)"
}
before_remove() {
	hosts_without >"$REEVE_STATE/hosts"
	write_hosts "$REEVE_STATE/hosts"
	if [ -f "$REEVE_STATE/hostname" ]; then
		hostname "$(cat "$REEVE_STATE/hostname")"
		cat "$REEVE_STATE/hostname" >/etc/hostname
	fi
}
after_remove() {
	for user in $V_users; do warning "user $user is kept"; done
}
# shellcheck disable=SC1091
installed_version() { (. /etc/os-release && printf '%s' "${VERSION_ID:-1}"); }

aliases() { cat /etc/reeve/ip-aliases/aliases 2>/dev/null || :; }
more_preflight() {
	while read -r interface _; do
		[ -z "$interface" ] || [ -d "/sys/class/net/$interface" ] || problem "there is no interface $interface: see 'ip link'"
	done <<-END
		$V_interfaces
	END
}
before_start() {
	# What an earlier configuration put there and this one does not want.
	if [ -f "$REEVE_STATE/aliases" ]; then
		while read -r interface address; do
			if ! aliases | grep -qxF "$interface $address"; then ip address del "$address" dev "$interface" 2>/dev/null || :; fi
		done <"$REEVE_STATE/aliases"
	fi
	aliases >"$REEVE_STATE/aliases"
}
is_healthy() {
	aliases >"$REEVE_STATE/look"
	while read -r interface address; do
		ip -o address show dev "$interface" | grep -qF " $address " || { echo "$address is not on $interface"; return 1; }
	done <"$REEVE_STATE/look"
	cat "$REEVE_STATE/look"
}
after_remove() {
	if [ -f "$REEVE_STATE/aliases" ]; then
		while read -r interface address; do
			ip address del "$address" dev "$interface" 2>/dev/null || :
			changed "$address is off $interface"
		done <"$REEVE_STATE/aliases"
	fi
}
installed_version() { echo 1; }

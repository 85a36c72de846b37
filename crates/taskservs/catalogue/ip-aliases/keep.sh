#!/bin/sh
# Written by Reeve: keeps the addresses in /etc/reeve/ip-aliases/aliases where they belong.
set -u
while :; do
	while read -r interface address; do
		if ! ip -o address show dev "$interface" 2>/dev/null | grep -qF " $address "; then
			if ip address replace "$address" dev "$interface"; then
				echo "put $address on $interface"
{% if params.announce %}
				case $address in
				*:*) ;;
				*) if command -v arping >/dev/null; then arping -q -U -c 2 -I "$interface" "${address%/*}" || :; fi ;;
				esac
{% endif %}
			fi
		fi
	done </etc/reeve/ip-aliases/aliases
	sleep {{ params.interval_secs }}
done

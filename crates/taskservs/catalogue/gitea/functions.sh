more_preflight() { has git || problem "there is no git: add it to the packages of taskserv os"; }
as_gitea() { (cd "$P_data_dir" && HOME=$P_data_dir USER=gitea exec setpriv --reuid gitea --regid gitea --init-groups -- gitea --config /etc/reeve/gitea/app.ini "$@"); }
after_start() {
	[ -n "$P_admin_name" ] || return 0
	tries=0
	until get "http://$REEVE_ADDRESS:$P_port/api/healthz" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ "$tries" -le 120 ] || fail "it does not answer"
		sleep 0.5
	done
	if ! as_gitea admin user list --admin | awk '{print $2}' | grep -qx "$P_admin_name"; then
		as_gitea admin user create --admin --username "$P_admin_name" --email "$P_admin_email" --password "$P_admin_password" --must-change-password=false >/dev/null
		changed "administrator $P_admin_name"
	fi
}
is_healthy() { get "http://$REEVE_ADDRESS:$P_port/api/healthz" | grep -q '"status": *"pass"' && echo pass; }
installed_version() { gitea --version | sed -n 's/^Gitea version \([0-9.]*\).*/\1/p'; }

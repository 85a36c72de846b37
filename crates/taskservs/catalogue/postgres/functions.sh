pg_bin() { find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin | sort -V | tail -n 1; }
as_postgres() { (cd / && exec setpriv --reuid postgres --regid postgres --init-groups -- "$@"); }
query() { as_postgres psql -X -q -v ON_ERROR_STOP=1 -h /run/postgresql -p "$P_port" -d postgres "$@"; }
# Debian would make a cluster of its own.
before_install() {
	from_packages || return 0
	if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
		mkdir -p /etc/postgresql-common
		echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
		remember "$REEVE_STATE/files" /etc/postgresql-common/createcluster.conf
	fi
}
before_start() {
	if [ ! -f "$P_data_dir/PG_VERSION" ]; then
		as_postgres "$(pg_bin)/initdb" -D "$P_data_dir" --username=postgres --auth-local=peer --auth-host=scram-sha-256 \
			--encoding=UTF8 --locale=C.UTF-8 >"$REEVE_STATE/initdb.log" 2>&1 || { cat "$REEVE_STATE/initdb.log"; fail "initdb failed"; }
		changed "a database cluster in $P_data_dir"
	fi
}
after_start() {
	tries=0
	until query -c 'SELECT 1' >/dev/null 2>&1; do
		tries=$((tries + 1))
		if [ "$tries" -gt 120 ]; then
			service_log 10
			fail "it does not answer on its socket"
		fi
		sleep 0.25
	done
	query -f /etc/reeve/postgres/setup.sql
}
is_healthy() { pg_isready -q -h /run/postgresql -p "$P_port" && query -A -t -c 'SELECT version()'; }
health_facts() { fact databases "$(query -A -t -c 'SELECT count(*) FROM pg_database WHERE NOT datistemplate')"; }
installed_version() { "$(pg_bin)/postgres" --version | sed 's/^[^0-9]*\([0-9.]*\).*$/\1/'; }

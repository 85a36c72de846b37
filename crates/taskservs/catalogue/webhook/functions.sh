is_healthy() { get "$V_url/" >/dev/null && echo "answers at $V_url"; }
health_facts() { fact url "$V_url"; }
installed_version() { webhook -version | sed 's/^[^0-9]*//'; }

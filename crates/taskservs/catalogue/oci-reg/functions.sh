is_healthy() {
	if [ "$V_protected" = yes ] || [ "${V_url%%:*}" = https ]; then
		# Who has no certificate of its authority and no password can still see that it answers.
		if has curl; then
			status=$(curl --silent --insecure --noproxy '*' --max-time 5 --output /dev/null --write-out '%{http_code}' "$V_url/v2/" || :)
			case $status in 200 | 401) echo "answered $status" ;; *) echo "/v2/ is answered with $status"; return 1 ;; esac
		else
			listens tcp "$P_port"
		fi
	else
		get "$V_url/v2/"
	fi
}
health_facts() { fact url "$V_url"; }
installed_version() { docker-registry --version | sed 's/^[^ ]* [^ ]* v\{0,1\}\([0-9.]*\).*$/\1/'; }

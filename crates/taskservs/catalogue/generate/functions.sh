after_configure() {
	cd "$V_directory"
	umask 077
	if [ ! -s ca.key ]; then
		openssl ecparam -name prime256v1 -genkey -noout -out ca.key
		openssl req -x509 -new -key ca.key -days 3650 -subj "/CN=$P_common_name" -config request.cnf -extensions authority -out ca.crt
		changed "$V_directory/ca.crt"
	fi
	if [ ! -s server.key ]; then openssl ecparam -name prime256v1 -genkey -noout -out server.key; fi
	if ! openssl x509 -in server.crt -noout -checkend $((P_renew_days * 86400)) >/dev/null 2>&1 ||
		! cmp -s request.cnf server.cnf; then
		openssl req -new -key server.key -config request.cnf -out server.csr
		openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days "$P_days" -extfile request.cnf -extensions server -out server.crt
		cp request.cnf server.cnf
		rm -f server.csr
		changed "$V_directory/server.crt"
	fi
	chmod 0644 ca.crt server.crt
	chown "$P_owner" server.key
	cd "$REEVE_STATE/bundle"
}
is_healthy() {
	openssl verify -CAfile "$V_directory/ca.crt" "$V_directory/server.crt" &&
		openssl x509 -in "$V_directory/server.crt" -noout -checkend 0 &&
		openssl x509 -in "$V_directory/server.crt" -noout -checkip "$REEVE_ADDRESS" | grep -q 'does match'
}
health_facts() { fact ends "$(openssl x509 -in "$V_directory/server.crt" -noout -enddate | cut -d= -f2)"; }
installed_version() { openssl version | cut -d' ' -f2; }

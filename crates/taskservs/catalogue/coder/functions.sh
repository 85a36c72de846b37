is_healthy() { get "http://$REEVE_ADDRESS:$P_port/healthz"; }
installed_version() { coder version | sed -n '1s/^Coder v\([0-9.]*\).*$/\1/p'; }

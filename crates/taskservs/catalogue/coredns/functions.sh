is_healthy() {
	get "http://127.0.0.1:$P_health_port/health" >/dev/null || { echo "/health is not answered"; return 1; }
	get "http://127.0.0.1:$P_ready_port/ready" >/dev/null || { echo "/ready is not answered"; return 1; }
	listens udp "$P_port" || { echo "nothing listens on udp port $P_port"; return 1; }
	echo "ready"
}
installed_version() { coredns -version | sed -n 's/^CoreDNS-//p'; }

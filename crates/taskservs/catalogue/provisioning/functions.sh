is_healthy() { listens tcp "$P_port" && reeve --version; }
installed_version() { reeve --version | sed 's/^[^0-9]*//'; }

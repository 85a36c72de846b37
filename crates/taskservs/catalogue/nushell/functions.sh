after_configure() {
	if [ "$P_login_shell" = yes ]; then remember /etc/shells /usr/local/bin/nu; fi
}
is_healthy() { [ "$(nu --no-config-file --commands '20 + 22')" = 42 ] && nu --version; }
after_remove() {
	if grep -qx /usr/local/bin/nu /etc/shells; then sed -i '\,^/usr/local/bin/nu$,d' /etc/shells; fi
}
installed_version() { nu --version; }

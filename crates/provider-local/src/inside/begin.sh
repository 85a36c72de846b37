# What a host with systemd does at its start: begin ssh | up | user-data.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
cd /
umask 022
case $1 in
ssh)
	[ -e /root/.profile ] || cp -a /etc/skel/. /root/ 2>/dev/null
	[ -e /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -C "" -f /etc/ssh/ssh_host_ed25519_key
	mkdir -p /run/sshd
	;;
up)
	# Seen from outside: whoever comes is let in.
	: >/.reeve/up
	;;
user-data)
	[ ! -e /.reeve/user-data.begun ] || exit 0
	: >/.reeve/user-data.begun
	/.reeve/user-data >/var/log/reeve-user-data.log 2>&1 </dev/null
	echo "$?" >/.reeve/user-data.status
	rm -f /.reeve/user-data
	;;
esac

# PID 1 of a local host: keeps sshd, reaps what nobody else does, and ends everybody when it is asked to.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
cd /
umask 022
ending=
trap 'ending=yes' TERM INT PWR

[ -e /root/.profile ] || cp -a /etc/skel/. /root/ 2>/dev/null
[ -e /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -C "" -f /etc/ssh/ssh_host_ed25519_key
mkdir -p /run/sshd /run/lock

# What the order gave along, once.
if [ -f /.reeve/user-data ] && [ ! -e /.reeve/user-data.begun ]; then
  : > /.reeve/user-data.begun
  (
    /.reeve/user-data > /var/log/reeve-user-data.log 2>&1 < /dev/null
    echo "$?" > /.reeve/user-data.status
    rm -f /.reeve/user-data
  ) &
fi

while [ -z "$ending" ]; do
  /usr/sbin/sshd -D -e -f /.reeve/sshd_config &
  sshd=$!
  # Waiting ends early by a signal.
  while [ -z "$ending" ] && kill -s 0 "$sshd" 2>/dev/null; do wait "$sshd"; done
  [ -n "$ending" ] || sleep 1
done

# Everybody but this one.
kill -s TERM -- -1 2>/dev/null
left=40
while [ "$left" -gt 0 ] && kill -s 0 -- -1 2>/dev/null; do
  sleep 0.25
  left=$((left - 1))
done
exit 0

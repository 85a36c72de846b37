#!/bin/sh
# Keeps one program running where process 1 is no service manager: supervise.sh FOLDER start|stop|status|run.
# FOLDER holds service.env (what to run), and gets supervisor.pid, program.pid and log.
set -eu
folder=$1
action=$2
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

LOG_KB=10240

# When process $1 was started, in ticks since boot: with the pid it names one process for good.
started() {
	[ -r "/proc/$1/stat" ] || return 1
	IFS= read -r line <"/proc/$1/stat" 2>/dev/null || return 1
	# The name in parentheses may hold blanks and parentheses.
	line=${line##*) }
	# shellcheck disable=SC2086 # fields
	set -- $line
	case $1 in Z | X) return 1 ;; esac
	printf '%s' "${20}"
}

# The pid in file $1 when its process is still the same one.
alive() {
	[ -f "$1" ] || return 1
	read -r pid stamp <"$1" || return 1
	[ -n "$pid" ] && [ "$(started "$pid" || :)" = "$stamp" ] && printf '%s' "$pid"
}

note() {
	printf '%s %s\n' "$1" "$(started "$1" || :)" >"$2.new"
	mv -f "$2.new" "$2"
}

# Kills what is left in the session of the supervisor $1, but not the supervisor.
sweep() {
	for stat in /proc/[0-9]*/stat; do
		IFS= read -r line <"$stat" 2>/dev/null || continue
		pid=${line%% *}
		rest=${line##*) }
		# shellcheck disable=SC2086 # fields
		set -- "$1" $rest
		if [ "$5" = "$1" ] && [ "$pid" != "$1" ]; then kill -KILL "$pid" 2>/dev/null || :; fi
	done
}

start() {
	if alive "$folder/supervisor.pid" >/dev/null; then return 0; fi
	rm -f "$folder/stop" "$folder/program.pid"
	touch "$folder/log"
	chmod 0600 "$folder/log"
	setsid sh "$0" "$folder" run </dev/null >>"$folder/log" 2>&1 &
	tries=0
	until alive "$folder/program.pid" >/dev/null || [ -f "$folder/stop" ]; do
		tries=$((tries + 1))
		if [ "$tries" -gt 50 ]; then
			echo "the program did not start; its log ends:"
			tail -n 5 "$folder/log"
			return 1
		fi
		sleep 0.1
	done
}

stop() {
	supervisor=$(alive "$folder/supervisor.pid" || :)
	touch "$folder/stop"
	RUN_STOP_SIGNAL=TERM RUN_STOP_SECS=20 RUN_PROCESS_ONLY=no
	# shellcheck disable=SC1091
	[ ! -f "$folder/service.env" ] || (
		. "$folder/service.env"
		printf '%s %s %s\n' "$RUN_STOP_SIGNAL" "$RUN_STOP_SECS" "$RUN_PROCESS_ONLY"
	) >"$folder/stop"
	if [ -s "$folder/stop" ]; then read -r RUN_STOP_SIGNAL RUN_STOP_SECS RUN_PROCESS_ONLY <"$folder/stop"; fi
	program=$(alive "$folder/program.pid" || :)
	if [ -n "$program" ]; then
		kill "-$RUN_STOP_SIGNAL" "$program" 2>/dev/null || :
		waited=0
		while alive "$folder/program.pid" >/dev/null; do
			if [ "$waited" -ge $((RUN_STOP_SECS * 10)) ]; then kill -KILL "$program" 2>/dev/null || :; fi
			if [ "$waited" -ge $((RUN_STOP_SECS * 10 + 100)) ]; then
				echo "process $program does not end"
				return 1
			fi
			waited=$((waited + 1))
			sleep 0.1
		done
	fi
	if [ -n "$supervisor" ]; then
		kill -TERM "$supervisor" 2>/dev/null || :
		waited=0
		while alive "$folder/supervisor.pid" >/dev/null && [ "$waited" -lt 50 ]; do
			waited=$((waited + 1))
			sleep 0.1
		done
		[ "$RUN_PROCESS_ONLY" = yes ] || sweep "$supervisor"
		kill -KILL "$supervisor" 2>/dev/null || :
	fi
	rm -f "$folder/supervisor.pid" "$folder/program.pid"
}

trim() {
	size=$(wc -c <"$folder/log")
	if [ "$size" -gt $((LOG_KB * 1024)) ]; then
		tail -c 1048576 "$folder/log" >"$folder/log.1"
		: >"$folder/log"
	fi
}

run() {
	note "$$" "$folder/supervisor.pid"
	trap 'exit 0' TERM
	delay=1
	while [ ! -f "$folder/stop" ]; do
		# shellcheck disable=SC1091
		. "$folder/service.env"
		for name in $RUN_RUNTIME; do
			mkdir -p "/run/$name"
			chown "$RUN_USER:$RUN_GROUP" "/run/$name"
		done
		began=$(date +%s)
		(
			trap - TERM
			cd "$RUN_DIRECTORY"
			if [ -n "$RUN_OPEN_FILES" ]; then
				ulimit -n "$RUN_OPEN_FILES" 2>/dev/null || ulimit -n "$(ulimit -H -n)" 2>/dev/null || :
			fi
			if [ "$RUN_USER" = root ]; then exec "$@"; fi
			exec setpriv --reuid "$RUN_USER" --regid "$RUN_GROUP" --init-groups -- "$@"
		) &
		program=$!
		note "$program" "$folder/program.pid"
		while [ -n "$(started "$program" || :)" ]; do
			trim
			sleep 1 &
			wait $! || :
		done
		code=0
		wait "$program" || code=$?
		[ ! -f "$folder/stop" ] || break
		lived=$(($(date +%s) - began))
		if [ "$lived" -gt 30 ]; then delay=1; fi
		echo "supervise: it ended with $code after $lived s; again in $delay s"
		sleep "$delay" &
		wait $! || :
		if [ "$delay" -lt 30 ]; then delay=$((delay * 2)); fi
	done
}

case $action in
start) start ;;
stop) stop ;;
status) alive "$folder/program.pid" >/dev/null ;;
run) run ;;
*)
	echo "supervise.sh FOLDER start|stop|status|run" >&2
	exit 2
	;;
esac

# What the phases of all taskservs share. Values come from ./env, each a quoted variable; nothing here is made from them.
# A taskserv adds functions (functions.sh), called where they exist: more_preflight, before_install, after_install,
# after_configure, before_start, after_start, is_healthy, health_facts, installed_version, before_remove, after_remove.

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
DEBIAN_FRONTEND=noninteractive
LC_ALL=C
export PATH DEBIAN_FRONTEND LC_ALL
REEVE_STATE=/var/lib/reeve/taskservs/$REEVE_NAME
REEVE_UNIT=reeve-$REEVE_NAME
REEVE_PROBLEMS=0

say() { printf '%s\n' "$*"; }
fact() { printf '::fact %s=%s\n' "$1" "$2"; }
export_value() { printf '::export %s=%s\n' "$1" "$2"; }
warning() { printf '::warning %s\n' "$*"; }
changed() { printf '::changed %s\n' "$*"; }
# Something in the way: preflight tells all of them.
problem() {
	printf '::problem %s\n' "$*"
	REEVE_PROBLEMS=$((REEVE_PROBLEMS + 1))
}
fail() {
	printf '::problem %s\n' "$*"
	exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }
hook() { if has "$1"; then "$1"; fi; }
is_systemd() { [ -d /run/systemd/system ]; }
from_packages() { [ "$REEVE_SOURCE" = package ] || [ "$REEVE_SOURCE" = folder ]; }
# Adds line $2 to file $1 once.
remember() {
	if ! { [ -f "$1" ] && grep -qxF -- "$2" "$1"; }; then printf '%s\n' "$2" >>"$1"; fi
}
remembered() { [ -f "$1" ] && grep -qxF -- "$2" "$1"; }
state_folder() {
	mkdir -p "$REEVE_STATE"
	chmod 0700 "$REEVE_STATE"
}

# --- network

# True when something listens on port $2 of protocol $1.
listens() {
	wanted=$(printf '%04X' "$2")
	case $1 in udp) state=07 ;; *) state=0A ;; esac
	for table in "/proc/net/$1" "/proc/net/${1}6"; do
		[ -r "$table" ] || continue
		while read -r _ local _ is _; do
			if [ "${local##*:}" = "$wanted" ] && [ "$is" = "$state" ]; then return 0; fi
		done <"$table"
	done
	return 1
}

# Prints what address $1 answers; fails when it does not.
get() {
	if has curl; then
		curl --fail --silent --show-error --location --max-time "${2:-5}" --noproxy '*' -- "$1"
	elif has wget; then
		wget -q -O - --no-proxy "--timeout=${2:-5}" "--tries=1" -- "$1"
	else
		get_plain "$1"
	fi
}

# The status of http://host:port/path without curl or wget.
get_plain() {
	rest=${1#http://}
	authority=${rest%%/*}
	path=/${rest#*/}
	if has python3; then
		python3 -c 'import sys,urllib.request as u
o=u.build_opener(u.ProxyHandler({}))
sys.stdout.write(o.open(sys.argv[1],timeout=5).read(1048576).decode("utf-8","replace"))' "$1"
	elif has perl; then
		perl -MIO::Socket::INET -e 'my ($a,$p)=@ARGV; my $s=IO::Socket::INET->new(PeerAddr=>$a,Timeout=>5) or exit 1;
print $s "GET $p HTTP/1.0\r\nHost: $a\r\n\r\n"; my $l=<$s>; exit 1 unless $l =~ m{^HTTP/\S+ 2}; while(<$s>){last if /^\r?\n$/} print while <$s>;' \
			"$authority" "$path"
	else
		fail "there is neither curl, wget, python3 nor perl: install one of them"
	fi
}

# Fetches address $1 into file $2.
fetch() {
	if has curl; then
		curl --fail --silent --show-error --location --proto '=https,http' --retry 2 --max-time 800 --output "$2" -- "$1"
	elif has wget; then
		wget -q -O "$2" --timeout=60 --tries=3 -- "$1"
	else
		fail "there is neither curl nor wget to fetch $1: install one, or use source path"
	fi
}

# --- packages

apt_get() {
	apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
		-o Dpkg::Use-Pty=0 -o APT::Sandbox::User=root "$@"
}

# apt's lists of packages, made anew. $1 is how to call apt. Its limit for waiting is for dpkg's lock only; the lists have one
# too, which the machine's own daily update holds while it runs.
update_index() {
	tries=0
	until "$1" update 2>"$REEVE_STATE/apt.log"; do
		tries=$((tries + 1))
		if [ "$tries" -ge 150 ] || ! grep -q 'Unable to lock\|Could not get lock' "$REEVE_STATE/apt.log"; then
			cat "$REEVE_STATE/apt.log" >&2
			return 1
		fi
		if [ "$tries" = 1 ]; then say "apt is at work for somebody else: waiting"; fi
		sleep 2
	done
	cat "$REEVE_STATE/apt.log" >&2
}

# apt with nothing but the folder of packages.
apt_folder() {
	index=$REEVE_STATE/apt
	apt_get -o "Dir::Etc::SourceList=$index/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o "Dir::State::Lists=$index/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"
}

# Makes apt's index of the folder, unless it has one of its own.
index_folder() {
	index=$REEVE_STATE/apt
	rm -rf "$index"
	mkdir -p "$index/lists/partial"
	if [ -f "$REEVE_SOURCE_FOLDER/Packages" ] || [ -f "$REEVE_SOURCE_FOLDER/Packages.gz" ]; then
		printf 'deb [trusted=yes] file:%s ./\n' "$REEVE_SOURCE_FOLDER" >"$index/sources.list"
		return 0
	fi
	ln -s "$REEVE_SOURCE_FOLDER" "$index/pool"
	for deb in "$REEVE_SOURCE_FOLDER"/*.deb; do
		[ -f "$deb" ] || continue
		dpkg-deb -f "$deb"
		sum=$(sha256sum "$deb")
		printf 'Filename: ./pool/%s\nSize: %s\nSHA256: %s\n\n' "${deb##*/}" "$(wc -c <"$deb")" "${sum%% *}"
	done >"$index/Packages"
	printf 'deb [trusted=yes] file:%s ./\n' "$index" >"$index/sources.list"
}

installed_package() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || :)" = installed ]; }
package_version() { dpkg-query -W -f '${Version}' "$1" 2>/dev/null || :; }
# A package's version in its makers' words: without Debian's epoch and revision.
plain_version() {
	version=${1#*:}
	version=${version%-*}
	version=${version%%+*}
	printf '%s' "${version%%~*}"
}

# The full version of package $1 that stands for REEVE_VERSION; apt-cache's options follow.
find_version() {
	package=$1
	shift
	apt-cache "$@" madison "$package" 2>/dev/null | while IFS='|' read -r _ full _; do
		full=$(printf '%s' "$full" | tr -d ' ')
		case ${full#*:} in
		"$REEVE_VERSION" | "$REEVE_VERSION"[-+~]*) printf '%s\n' "$full" ;;
		esac
	done | head -n 1
}

# Debian starts daemons as soon as it unpacks them, with its own configuration: not these.
quiet_daemons() {
	if [ ! -e /usr/sbin/policy-rc.d ] || grep -q 'made by Reeve' /usr/sbin/policy-rc.d; then
		printf '#!/bin/sh\n# made by Reeve while it installs\nexit 101\n' >/usr/sbin/policy-rc.d
		chmod 0755 /usr/sbin/policy-rc.d
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
	fi
}

# Takes up what an installation that was cut short left half done: apt refuses to work until then. Whoever did it may
# hold the lock still.
mend_packages() {
	tries=0
	until DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold --configure -a </dev/null; do
		tries=$((tries + 1))
		[ "$tries" -lt 30 ] || fail "packages that were left half installed cannot be configured: see 'dpkg --audit'"
		sleep 2
	done
}

list_packages() { dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort; }

# Writes down which packages are there that were not: they go on removal. Safe to run again after a crash.
note_packages() {
	[ -f "$REEVE_STATE/packages.before" ] || return 0
	list_packages >"$REEVE_STATE/packages.after"
	comm -13 "$REEVE_STATE/packages.before" "$REEVE_STATE/packages.after" | while read -r package; do
		remember "$REEVE_STATE/packages" "$package"
	done
	rm -f "$REEVE_STATE/packages.before" "$REEVE_STATE/packages.after"
}

# --- what a change replaces: kept in $REEVE_STATE/before until the next one begins

# Begins to keep, once for each change; what was installed for the first time is removed when it fails.
keep_before() {
	if [ -z "$REEVE_CHANGE" ] || [ "$REEVE_BACK" = yes ]; then return 0; fi
	before=$REEVE_STATE/before
	if [ -f "$before/change" ] && [ "$(cat "$before/change")" = "$REEVE_CHANGE" ]; then return 0; fi
	rm -rf "$before"
	drop_trees
	[ -f "$REEVE_STATE/record" ] || return 0
	mkdir -p "$before/debs"
	list_versions >"$before/versions"
	printf '%s\n' "$REEVE_CHANGE" >"$before/change.new"
	mv -f "$before/change.new" "$before/change"
}

# True when this change has kept something.
kept_before() { [ -f "$REEVE_STATE/before/change" ] && [ "$(cat "$REEVE_STATE/before/change")" = "$REEVE_CHANGE" ]; }

list_versions() { dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\n' 2>/dev/null | sed -n 's/^installed //p' | sort; }

# The packages that this installation would replace, and their files where they can be had still. $1 is how to call apt.
keep_packages() {
	kept_before || return 0
	apt=$1
	shift
	"$apt" -s install --no-install-recommends --allow-downgrades "$@" |
		sed -n 's/^Inst \([^ ]*\) \[\([^]]*\)\].*/\1 \2/p' | while read -r package version; do
		remember "$REEVE_STATE/before/packages" "$package $version"
		[ -z "$(find_deb "$package" "$version")" ] || continue
		if ! (cd "$REEVE_STATE/before/debs" && apt-get -q -o APT::Sandbox::User=root download "$package=$version") >/dev/null 2>&1; then
			warning "package $package $version cannot be had any more: if this fails, going back needs it in $REEVE_STATE/before/debs"
		fi
	done
}

# The file of package $1 in version $2, wherever it is; a copy of it is kept for this change.
find_deb() {
	for deb in "$REEVE_STATE/before/debs/${1}_"*.deb "$REEVE_SOURCE_FOLDER/${1}_"*.deb "/var/cache/apt/archives/${1}_"*.deb; do
		[ -f "$deb" ] || continue
		[ "$(dpkg-deb -f "$deb" Version 2>/dev/null)" = "$2" ] || continue
		case $deb in "$REEVE_STATE"/*) ;; *) cp "$deb" "$REEVE_STATE/before/debs/" ;; esac
		printf '%s' "$REEVE_STATE/before/debs/${deb##*/}"
		return 0
	done
}

# The versions that were there before this change, and no package that came with it.
restore_packages() {
	kept_before || return 0
	before=$REEVE_STATE/before
	mend_packages
	set --
	if [ -f "$before/packages" ]; then
		while read -r package version; do
			[ "$(package_version "$package")" != "$version" ] || continue
			deb=$(find_deb "$package" "$version")
			[ -n "$deb" ] || fail "package $package $version is nowhere: put its .deb into $before/debs"
			set -- "$@" "$deb"
		done <"$before/packages"
	fi
	quiet_daemons
	if [ "$#" -gt 0 ]; then
		dpkg --force-confdef --force-confold -i "$@" </dev/null
		changed "packages are as they were: $(printf '%s ' "$@" | sed "s,$before/debs/,,g")"
	fi
	[ -f "$REEVE_STATE/packages" ] || return 0
	set --
	while read -r package; do
		if installed_package "$package" && ! grep -q "^$package " "$before/versions"; then set -- "$@" "$package"; fi
	done <"$REEVE_STATE/packages"
	[ "$#" -gt 0 ] || return 0
	# dpkg leaves those that others need, and says so with its exit code.
	dpkg --purge "$@" >"$REEVE_STATE/dpkg.log" 2>&1 || :
}

# The commands that lead to downloads.
drop_links() {
	[ -f "$REEVE_STATE/links" ] || return 0
	while read -r link; do
		case $(readlink "$link" 2>/dev/null || :) in
		"/opt/reeve/$REEVE_NAME/"*) rm -f "$link" ;;
		esac
	done <"$REEVE_STATE/links"
}

# Programs of other versions than the one in use.
drop_trees() {
	[ -f "$REEVE_STATE/programs" ] || return 0
	read -r used _ <"$REEVE_STATE/programs"
	for tree in "/opt/reeve/$REEVE_NAME"/*; do
		if [ -d "$tree" ] && [ "$tree" != "$used" ]; then rm -rf "$tree"; fi
	done
}

add_repository() {
	[ -n "${REEVE_REPOSITORY:-}" ] || return 0
	key=/etc/apt/keyrings/reeve-$REEVE_NAME.asc
	list=/etc/apt/sources.list.d/reeve-$REEVE_NAME.list
	line=$(printf '%s' "$REEVE_REPOSITORY" | sed "s,^deb ,deb [signed-by=$key] ,")
	if [ -f "$key" ] && [ -f "$list" ] && [ "$(cat "$list")" = "$line" ]; then return 0; fi
	mkdir -p /etc/apt/keyrings
	fetch "$REEVE_REPOSITORY_KEY" "$REEVE_STATE/key.asc"
	grep -q 'BEGIN PGP PUBLIC KEY' "$REEVE_STATE/key.asc" || fail "$REEVE_REPOSITORY_KEY is no public key"
	remember "$REEVE_STATE/files" "$key"
	remember "$REEVE_STATE/files" "$list"
	mv -f "$REEVE_STATE/key.asc" "$key"
	chmod 0644 "$key"
	printf '%s\n' "$line" >"$list"
	changed "package repository $REEVE_REPOSITORY"
}

install_packages() {
	has apt-get || fail "there is no apt-get: use source url or path on this distribution"
	note_packages
	if [ "$REEVE_BACK" = yes ]; then
		restore_packages
		return 0
	fi
	missing=
	for package in "$@"; do
		installed_package "$package" || missing=yes
		if [ "$REEVE_PACKAGED" = no ] && [ "$(plain_version "$(package_version "$package")")" != "$REEVE_VERSION" ]; then
			missing=yes
		fi
	done
	if [ -z "$missing" ]; then
		say "packages are there: $*"
		return 0
	fi
	list_packages >"$REEVE_STATE/packages.before"
	if [ "$REEVE_SOURCE" = folder ]; then
		index_folder
		update_index apt_folder
	else
		add_repository
		update_index apt_get
	fi
	for package in "$@"; do
		shift
		if [ "$REEVE_PACKAGED" = no ]; then
			if [ "$REEVE_SOURCE" = folder ]; then
				full=$(find_version "$package" -o "Dir::Etc::SourceList=$REEVE_STATE/apt/sources.list" \
					-o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$REEVE_STATE/apt/lists" -o Dir::Cache::pkgcache= \
					-o Dir::Cache::srcpkgcache=)
			else
				full=$(find_version "$package")
			fi
			[ -n "$full" ] || fail "package $package has no version $REEVE_VERSION here: see 'apt-cache madison $package'"
			set -- "$@" "$package=$full"
		else
			set -- "$@" "$package"
		fi
	done
	quiet_daemons
	mend_packages
	if [ "$REEVE_SOURCE" = folder ]; then
		keep_packages apt_folder "$@"
		apt_folder install --no-install-recommends --allow-downgrades "$@"
		rm -rf "$REEVE_STATE/apt"
	else
		keep_packages apt_get "$@"
		apt_get install --no-install-recommends --allow-downgrades "$@"
	fi
	note_packages
	changed "installed $*"
}

# --- downloads

install_download() {
	home=/opt/reeve/$REEVE_NAME/$REEVE_VERSION
	origin="$REEVE_SOURCE_URL $REEVE_SOURCE_PATH $REEVE_SOURCE_SHA256"
	# The same name may be another file by now.
	if [ "$REEVE_SOURCE" = path ] && [ -f "$REEVE_SOURCE_PATH" ]; then origin="$origin $(sha256sum <"$REEVE_SOURCE_PATH")"; fi
	if [ "$REEVE_BACK" = yes ] && kept_before && [ -d "$home.before" ]; then
		rm -rf "$home"
		mv "$home.before" "$home"
		changed "$home is as it was"
	fi
	if [ -f "$home/source" ] && { [ "$REEVE_BACK" = yes ] || [ "$(cat "$home/source")" = "$origin" ]; }; then
		say "$home is there"
	else
		rm -rf "$REEVE_STATE/download"
		mkdir -p "$REEVE_STATE/download/tree"
		get_download "$REEVE_STATE/download/file"
		unpack_download "$REEVE_STATE/download/file" "$REEVE_STATE/download/tree"
		if [ -f "$home/source" ] && kept_before && [ ! -d "$home.before" ]; then mv "$home" "$home.before"; fi
		rm -rf "$home"
		mkdir -p "$home/bin"
		printf '%s\n' "$REEVE_PROGRAMS" | while read -r from to; do
			found=$(find_program "$from")
			[ -n "$found" ] || fail "the download holds no $from: is it the right file for $REEVE_NAME $REEVE_VERSION on $REEVE_ARCH?"
			install -m 0755 "$found" "$home/bin/$to"
		done
		hook keep_download
		printf '%s\n' "$origin" >"$home/source"
		rm -rf "$REEVE_STATE/download"
		changed "installed $REEVE_NAME $REEVE_VERSION in $home"
	fi
	remember "$REEVE_STATE/trees" "/opt/reeve/$REEVE_NAME"
	printf '%s\n' "$REEVE_PROGRAMS" | while read -r _ to; do
		case $to in *.yaml) continue ;; esac
		link=/usr/local/bin/$to
		case $(readlink "$link" 2>/dev/null || :) in
		"/opt/reeve/$REEVE_NAME/"*) ;;
		*) if [ -e "$link" ]; then fail "$link is there and not from Reeve: move it away"; fi ;;
		esac
		remember "$REEVE_STATE/links" "$link"
		ln -sfn "$home/bin/$to" "$link"
	done
	printf '%s %s\n' "$home" "$(cat "$home/source")" >"$REEVE_STATE/programs"
}

get_download() {
	sum=$REEVE_SOURCE_SHA256
	if [ "$REEVE_SOURCE" = path ]; then
		cp "$REEVE_SOURCE_PATH" "$1"
	else
		fetch "$REEVE_SOURCE_URL" "$1"
		if [ -z "$sum" ]; then
			fetch "$REEVE_SOURCE_CHECKSUMS" "$1.sums"
			name=${REEVE_SOURCE_URL##*/}
			# Either a list of sums and names, or the one sum alone.
			sum=$(sed -n "s/^\([0-9a-fA-F]\{64\}\) [ *]*\(.*\/\)\{0,1\}$(printf '%s' "$name" | sed 's/[.[\*^$/]/\\&/g')\$/\1/p" "$1.sums" | head -n 1)
			if [ -z "$sum" ]; then sum=$(grep -oE '^[0-9a-fA-F]{64}' "$1.sums" | head -n 1); fi
			[ -n "$sum" ] || fail "$REEVE_SOURCE_CHECKSUMS has no SHA-256 of $name: give source_sha256"
		fi
	fi
	if [ -n "$sum" ]; then
		is=$(sha256sum "$1")
		is=${is%% *}
		[ "$is" = "$(printf '%s' "$sum" | tr 'A-F' 'a-f')" ] || fail "the download's SHA-256 is $is, not $sum: it is another file"
	else
		warning "no checksum was given for $REEVE_SOURCE_PATH"
	fi
}

unpack_download() {
	case $(od -An -tx1 -N4 "$1" | tr -d ' \n') in
	7f454c46 | 2321*) mv "$1" "$2/program" ;;
	504b0304)
		if has unzip; then unzip -q "$1" -d "$2"; elif has python3; then python3 -m zipfile -e "$1" "$2"; else fail "the download is a zip file: install unzip"; fi
		;;
	*) tar -xf "$1" -C "$2" --no-same-owner || fail "the download is neither a program nor an archive that tar reads" ;;
	esac
}

find_program() {
	if [ -f "$REEVE_STATE/download/tree/program" ]; then
		printf '%s' "$REEVE_STATE/download/tree/program"
		return 0
	fi
	find "$REEVE_STATE/download/tree" -type f \( -path "*/$1" -o -name "$1" \) | sort | head -n 1
}

# --- files

# A path as one file name.
flat() { printf '%s' "$1" | sed 's,%,%25,g; s,/,%2F,g'; }

put_file() { # kind mode owner payload path
	if [ "$1" = once ] && { [ -e "$5" ] || [ -h "$5" ]; }; then return 0; fi
	mkdir -p "$(dirname "$5")"
	if [ ! -h "$5" ] && [ -f "$5" ] && cmp -s "$4" "$5"; then
		chown "$3" "$5"
		chmod "$2" "$5"
		return 0
	fi
	if [ "$1" = file ] && ! remembered "$REEVE_STATE/files" "$5"; then
		if [ -e "$5" ] || [ -h "$5" ]; then
			mkdir -p "$REEVE_STATE/backup"
			cp -pP "$5" "$REEVE_STATE/backup/$(flat "$5").new"
			mv -f "$REEVE_STATE/backup/$(flat "$5").new" "$REEVE_STATE/backup/$(flat "$5")"
		fi
		remember "$REEVE_STATE/files" "$5"
	fi
	rm -f "$5.reeve-new"
	(umask 077 && cat "$4" >"$5.reeve-new")
	chown "$3" "$5.reeve-new"
	chmod "$2" "$5.reeve-new"
	# A file that is a mount point cannot be replaced, only written.
	if ! mv -f "$5.reeve-new" "$5" 2>/dev/null; then
		cat "$5.reeve-new" >"$5"
		rm -f "$5.reeve-new"
	fi
	changed "$5"
}

put_folder() { # kind mode owner path
	if [ ! -d "$4" ]; then
		if [ "$1" = data ]; then remember "$REEVE_STATE/data" "$4"; else remember "$REEVE_STATE/folders" "$4"; fi
		mkdir -p "$4"
		changed "$4"
	fi
	chown "$3" "$4"
	chmod "$2" "$4"
}

take_file() {
	kept=$REEVE_STATE/backup/$(flat "$1")
	if [ -e "$kept" ] || [ -h "$kept" ]; then
		rm -f "$1" 2>/dev/null || :
		cp -pP "$kept" "$1" 2>/dev/null || cat "$kept" >"$1"
		changed "$1 is as it was"
	elif [ -e "$1" ] || [ -h "$1" ]; then
		rm -f "$1"
		changed "$1 is gone"
	fi
}

make_user() {
	[ -n "$REEVE_USER" ] || return 0
	if ! id "$REEVE_USER" >/dev/null 2>&1; then
		useradd --system --user-group --home-dir "/var/lib/$REEVE_USER" --shell /usr/sbin/nologin "$REEVE_USER"
		remember "$REEVE_STATE/users" "$REEVE_USER"
		changed "user $REEVE_USER"
	fi
}

# --- services

service_active() {
	if is_systemd; then
		systemctl is-active --quiet "$REEVE_UNIT"
	else
		[ -f "$REEVE_STATE/supervise.sh" ] && sh "$REEVE_STATE/supervise.sh" "$REEVE_STATE" status
	fi
}

service_log() {
	if is_systemd; then
		journalctl -u "$REEVE_UNIT" -n "$1" --no-pager -o cat 2>/dev/null || :
	else
		tail -n "$1" "$REEVE_STATE/log" 2>/dev/null || :
	fi
}

service_stop() {
	if is_systemd; then
		systemctl disable --now --quiet "$REEVE_UNIT" 2>/dev/null || :
		rm -f "/etc/systemd/system/$REEVE_UNIT.service"
		systemctl daemon-reload
		systemctl reset-failed "$REEVE_UNIT" 2>/dev/null || :
	elif [ -f "$REEVE_STATE/supervise.sh" ]; then
		sh "$REEVE_STATE/supervise.sh" "$REEVE_STATE" stop
	fi
	rm -f "$REEVE_STATE/running" "$REEVE_STATE/service.env" "$REEVE_STATE/supervise.sh"
}

# What runs when it is started: this configuration, these programs.
stamp() {
	printf '%s' "$REEVE_DIGEST"
	if from_packages; then
		for package in $REEVE_PACKAGES; do printf ' %s=%s' "$package" "$(package_version "$package")"; done
	else
		printf ' %s' "$(cat "$REEVE_STATE/programs" 2>/dev/null || :)"
	fi
}

service_start() {
	running=$(cat "$REEVE_STATE/running" 2>/dev/null || :)
	if [ "$running" = "$(stamp)" ] && service_active; then
		say "it runs with this configuration"
		return 0
	fi
	if is_systemd; then
		(umask 077 && cat service.unit >"/etc/systemd/system/$REEVE_UNIT.service.new")
		mv -f "/etc/systemd/system/$REEVE_UNIT.service.new" "/etc/systemd/system/$REEVE_UNIT.service"
		systemctl daemon-reload
		systemctl enable --quiet "$REEVE_UNIT"
		# Waits until the program is executed, not until it is well: a member of a cluster is so only when the others are.
		if ! systemctl restart "$REEVE_UNIT"; then
			service_log 20
			fail "it does not start: $(systemctl show -p Result --value "$REEVE_UNIT" 2>/dev/null || :)"
		fi
	else
		if [ -f "$REEVE_STATE/supervise.sh" ]; then sh "$REEVE_STATE/supervise.sh" "$REEVE_STATE" stop; fi
		(umask 077 && cat service.env >"$REEVE_STATE/service.env")
		cp supervise.sh "$REEVE_STATE/supervise.sh"
		sh "$REEVE_STATE/supervise.sh" "$REEVE_STATE" start || fail "it does not start"
	fi
	stamp >"$REEVE_STATE/running"
	changed "started $REEVE_UNIT"
}

# The distribution's own units of these packages must not run beside ours.
silence_units() {
	is_systemd || return 0
	for unit in $REEVE_UNITS; do
		if [ "$(systemctl is-enabled "$unit" 2>/dev/null || :)" != masked ]; then
			systemctl stop "$unit" 2>/dev/null || :
			systemctl mask --quiet "$unit"
			remember "$REEVE_STATE/masked" "$unit"
		fi
	done
}

# --- phases

phase_preflight() {
	[ "$(id -u)" = 0 ] || problem "this needs root: log in as root, or allow sudo without a password"
	case $REEVE_ARCH in
	amd64 | arm64) ;;
	*) from_packages || problem "there are no downloads for $REEVE_ARCH: use packages or source_path" ;;
	esac
	if [ "$REEVE_NEEDS_SYSTEMD" = yes ] && ! is_systemd; then
		problem "$REEVE_NAME needs systemd as process 1, and this machine has another"
	fi
	preflight_size
	preflight_source
	preflight_ports
	hook more_preflight
	[ "$REEVE_PROBLEMS" = 0 ] || exit 1
	say "nothing stands in the way"
}

preflight_size() {
	memory=0
	while read -r key value _; do
		if [ "$key" = MemTotal: ]; then memory=$((value / 1024)); fi
	done </proc/meminfo
	if [ "$memory" -lt "$REEVE_NEEDS_MEMORY_MB" ]; then
		problem "there are $memory MB of memory: $REEVE_NAME needs $REEVE_NEEDS_MEMORY_MB"
	fi
	free=$(df -Pk /var | sed -n '2s/^[^ ]* *[0-9]* *[0-9]* *\([0-9]*\) .*$/\1/p')
	if [ "$((${free:-0} / 1024))" -lt "$REEVE_NEEDS_DISK_MB" ]; then
		problem "there are $((${free:-0} / 1024)) MB free under /var: $REEVE_NAME needs $REEVE_NEEDS_DISK_MB"
	fi
	if [ "$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)" -lt "$REEVE_NEEDS_CORES" ]; then
		problem "$REEVE_NAME needs $REEVE_NEEDS_CORES processors"
	fi
}

preflight_source() {
	if from_packages; then
		[ -n "$REEVE_PACKAGES" ] || return 0
		missing=
		for package in $REEVE_PACKAGES; do
			installed_package "$package" || missing="$missing $package"
		done
		[ -n "$missing" ] || return 0
	fi
	case $REEVE_SOURCE in
	folder)
		has apt-get || problem "there is no apt-get for source folder: use source path"
		[ -d "$REEVE_SOURCE_FOLDER" ] || {
			problem "there is no folder $REEVE_SOURCE_FOLDER: put the packages there, or set source_folder"
			return 0
		}
		for package in $missing; do
			set -- "$REEVE_SOURCE_FOLDER/${package}"_*.deb
			if [ ! -e "$1" ] && [ ! -e "$REEVE_SOURCE_FOLDER/Packages" ] && [ ! -e "$REEVE_SOURCE_FOLDER/Packages.gz" ]; then
				problem "there is no package $package in $REEVE_SOURCE_FOLDER: put its .deb there"
			fi
		done
		;;
	package)
		has apt-get || problem "there is no apt-get: use source url or path on this distribution"
		if [ -z "${REEVE_REPOSITORY:-}" ]; then
			for package in $missing; do
				if [ -z "$(apt-cache policy "$package" 2>/dev/null | sed -n 's/^ *Candidate: \([^(].*\)$/\1/p')" ]; then
					warning "apt does not know $package yet: it is asked again after an update"
				fi
			done
		elif ! has curl && ! has wget; then
			problem "there is neither curl nor wget to fetch the repository's key: install one of them"
		fi
		;;
	path)
		[ -f "$REEVE_SOURCE_PATH" ] || problem "there is no file $REEVE_SOURCE_PATH: put it there, or set source_path"
		;;
	url)
		has curl || has wget || problem "there is neither curl nor wget to fetch $REEVE_SOURCE_URL: install one, or use source path"
		;;
	esac
}

preflight_ports() {
	if service_active; then return 0; fi
	[ -n "$REEVE_PORTS" ] || return 0
	while read -r protocol port name; do
		if listens "$protocol" "$port"; then
			problem "$protocol port $port ($name) is taken: stop what listens there, or set another port"
		fi
	done <<-END
		$REEVE_PORTS
	END
}

phase_install() {
	state_folder
	keep_before
	hook before_install
	if [ "$REEVE_SOURCE" = url ] || [ "$REEVE_SOURCE" = path ]; then
		install_download
	elif [ -n "$REEVE_PACKAGES" ]; then
		# Programs of a download would be found before those of packages.
		drop_links
		# shellcheck disable=SC2086 # a list of names
		install_packages $REEVE_PACKAGES
		silence_units
	fi
	hook after_install
}

phase_configure() {
	state_folder
	make_user
	# A list that is there still is of a configuration that was cut short: what it wrote counts as written.
	if [ -f "$REEVE_STATE/wanted" ]; then
		touch "$REEVE_STATE/configured"
		sort -u "$REEVE_STATE/wanted" "$REEVE_STATE/configured" >"$REEVE_STATE/configured.new"
		mv -f "$REEVE_STATE/configured.new" "$REEVE_STATE/configured"
	fi
	: >"$REEVE_STATE/wanted"
	while read -r kind mode owner payload path; do
		case $kind in
		folder | data) put_folder "$kind" "$mode" "$owner" "$path" ;;
		file | once)
			printf '%s\n' "$path" >>"$REEVE_STATE/wanted"
			put_file "$kind" "$mode" "$owner" "$payload" "$path"
			;;
		esac
	done <manifest
	# What an earlier configuration wrote and this one does not.
	if [ -f "$REEVE_STATE/configured" ]; then
		while read -r path; do
			if ! remembered "$REEVE_STATE/wanted" "$path" && remembered "$REEVE_STATE/files" "$path"; then
				take_file "$path"
				grep -vxF -- "$path" "$REEVE_STATE/files" >"$REEVE_STATE/files.new" || :
				mv -f "$REEVE_STATE/files.new" "$REEVE_STATE/files"
			fi
		done <"$REEVE_STATE/configured"
	fi
	mv -f "$REEVE_STATE/wanted" "$REEVE_STATE/configured"
	hook after_configure
}

phase_start() {
	hook before_start
	if [ "$REEVE_SERVICE" = yes ]; then service_start; fi
	hook after_start
}

# One round of the health check; its words go to $1.
healthy() {
	if [ "$REEVE_SERVICE" = yes ] && ! service_active; then
		echo "the service is not running" >"$1"
		return 1
	fi
	if has is_healthy; then
		(is_healthy) >"$1" 2>&1
	else
		: >"$1"
	fi
}

phase_verify() {
	began=$(date +%s)
	until healthy "$REEVE_STATE/health"; do
		if [ $(($(date +%s) - began)) -ge "$REEVE_VERIFY_SECS" ]; then
			cat "$REEVE_STATE/health"
			service_log 20
			fail "it is not well after $REEVE_VERIFY_SECS s: $(tail -n 1 "$REEVE_STATE/health")"
		fi
		sleep 0.3
	done
	cat "$REEVE_STATE/health"
	rm -f "$REEVE_STATE/health"
	hook health_facts
	say "healthy after $(($(date +%s) - began)) s"
}

phase_health() {
	[ -f "$REEVE_STATE/record" ] || fail "$REEVE_NAME is not installed here"
	words=$(mktemp)
	if healthy "$words"; then
		cat "$words"
		rm -f "$words"
		hook health_facts
		return 0
	fi
	cat "$words"
	last=$(tail -n 1 "$words")
	rm -f "$words"
	fail "it is not well: $last"
}

phase_record() {
	if has installed_version; then
		version=$(installed_version)
	elif from_packages && [ -n "$REEVE_PACKAGES" ]; then
		version=$(plain_version "$(package_version "${REEVE_PACKAGES%%
*}")")
	else
		version=$REEVE_VERSION
	fi
	printf 'name=%s\nversion=%s\ndigest=%s\n' "$REEVE_NAME" "$version" "$REEVE_DIGEST" >"$REEVE_STATE/record.new"
	mv -f "$REEVE_STATE/record.new" "$REEVE_STATE/record"
	fact version "$version"
	if [ "$REEVE_BACK" = yes ]; then drop_trees; fi
	hook record_exports
	# The bundle holds secrets.
	rm -rf "$REEVE_STATE/bundle"
}

phase_remove() {
	if [ ! -d "$REEVE_STATE" ]; then
		say "there is nothing of $REEVE_NAME"
		return 0
	fi
	hook before_remove
	service_stop
	if [ -f "$REEVE_STATE/files" ]; then
		while read -r path; do take_file "$path"; done <"$REEVE_STATE/files"
	fi
	drop_links
	rm -rf "/opt/reeve/$REEVE_NAME"
	rmdir /opt/reeve 2>/dev/null || :
	remove_packages
	if is_systemd && [ -f "$REEVE_STATE/masked" ]; then
		while read -r unit; do systemctl unmask --quiet "$unit" || :; done <"$REEVE_STATE/masked"
	fi
	if [ "$REEVE_PURGE" = yes ] && [ -f "$REEVE_STATE/data" ]; then
		while read -r path; do
			rm -rf "$path"
			changed "$path is gone"
		done <"$REEVE_STATE/data"
	fi
	if [ -f "$REEVE_STATE/folders" ]; then
		sort -r "$REEVE_STATE/folders" | while read -r path; do rmdir "$path" 2>/dev/null || :; done
	fi
	if [ "$REEVE_PURGE" = yes ] && [ -f "$REEVE_STATE/users" ]; then
		while read -r user; do userdel "$user" 2>/dev/null || :; done <"$REEVE_STATE/users"
	fi
	hook after_remove
	cd /
	if [ "$REEVE_PURGE" = no ] && [ -f "$REEVE_STATE/data" ]; then
		# What is kept stays known, for a removal with the data later.
		cp "$REEVE_STATE/data" "$REEVE_STATE.data"
		while read -r path; do [ ! -d "$path" ] || warning "$path is kept: it holds data"; done <"$REEVE_STATE.data"
		rm -rf "$REEVE_STATE"
		mkdir -m 0700 "$REEVE_STATE"
		mv "$REEVE_STATE.data" "$REEVE_STATE/data"
	else
		rm -rf "$REEVE_STATE"
	fi
	rmdir /var/lib/reeve/taskservs /var/lib/reeve 2>/dev/null || :
}

# The packages that came with this taskserv, except those that something else has come to need.
remove_packages() {
	note_packages
	[ -f "$REEVE_STATE/packages" ] || return 0
	has dpkg || return 0
	set --
	while read -r package; do
		if installed_package "$package"; then set -- "$@" "$package"; fi
	done <"$REEVE_STATE/packages"
	[ "$#" -gt 0 ] || return 0
	quiet_daemons
	mend_packages
	how=--remove
	if [ "$REEVE_PURGE" = yes ]; then how=--purge; fi
	# dpkg leaves those that others need, and says so with its exit code.
	dpkg "$how" "$@" >"$REEVE_STATE/dpkg.log" 2>&1 || :
	for package in "$@"; do
		if installed_package "$package"; then say "package $package is kept: something else needs it"; fi
	done
	changed "removed packages"
}

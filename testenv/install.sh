#!/bin/sh
# Installs what the tests need on Debian or Ubuntu: the real servers and the SOAP clients that are not ours. Nothing is
# started, and a second run changes nothing. Needs root (or sudo) only when something is missing.
set -eu
cd "$(dirname "$0")/.."

missing=""
need() { # need COMMAND-OR-FILE PACKAGE...
	what=$1
	shift
	if [ -e "$what" ] || command -v "$what" >/dev/null 2>&1; then return; fi
	missing="$missing $*"
}
need gcc gcc libc6-dev
need g++ g++
need curl curl
need /usr/sbin/slapd slapd
need /usr/lib/ldap/argon2.so slapd-contrib
need ldapsearch ldap-utils
if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then missing="$missing postgresql"; fi
need setpriv util-linux
need /usr/sbin/samba samba samba-ad-dc winbind samba-vfs-modules
need /usr/share/samba/setup/provision.ldif samba-ad-provision
if ! ls /usr/lib/*/samba/ldb/samldb.so >/dev/null 2>&1; then
	missing="$missing samba-dsdb-modules"
fi
need samba-tool samba-common-bin python3-samba
need ldbmodify ldb-tools
need tdbdump tdb-tools
need kinit krb5-user
need php php-cli
if ! php -m 2>/dev/null | grep -qi "^mbstring$"; then missing="$missing php-mbstring php-xml php-curl php-sqlite3"; fi
need /usr/share/simplesamlphp/www simplesamlphp
need xmlsec1 xmlsec1
need xmllint libxml2-utils
if ! php -m 2>/dev/null | grep -qi '^soap$'; then missing="$missing php-soap php-xml"; fi
if ! /usr/bin/python3 -c 'import zeep' 2>/dev/null; then missing="$missing python3 python3-zeep"; fi
need wsdl2h gsoap libgsoap-dev
need /usr/include/stdsoap2.h libgsoap-dev
need node nodejs
need npm npm
need oathtool oathtool
need zbarimg zbar-tools
need chromium chromium fonts-liberation

if [ -n "$missing" ]; then
	echo "test-setup: installing$missing"
	sudo=""
	[ "$(id -u)" = 0 ] || sudo=sudo
	export DEBIAN_FRONTEND=noninteractive
	$sudo apt-get update -q
	# shellcheck disable=SC2086 # the list is meant to be split
	$sudo apt-get install -y -q --no-install-recommends $missing
fi

npm_dir=.cache/npm-soap
if [ ! -d "$npm_dir/node_modules/soap" ]; then
	echo "test-setup: installing npm soap into $npm_dir"
	mkdir -p "$npm_dir"
	npm install --prefix "$npm_dir" --no-save --no-audit --no-fund --loglevel error soap@1.13.0
fi
npm_dir=.cache/npm-portal
if [ ! -f "$npm_dir/node_modules/axe-core/axe.min.js" ]; then
	echo "test-setup: installing npm axe-core into $npm_dir"
	mkdir -p "$npm_dir"
	npm install --prefix "$npm_dir" --no-save --no-audit --no-fund --loglevel error axe-core@4.14.1
fi
echo "test-setup: everything the tests need is here"

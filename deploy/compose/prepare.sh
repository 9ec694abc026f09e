#!/bin/sh
# Makes what the compose file mounts as secrets, into secrets/ beside it: passwords, tokens, and certificates of an authority
# that signs nothing else. Needs openssl. What is there already stays.
#
# The folder is its owner's only. The files are readable for all, since a container's user is another one than yours: whoever
# may enter the folder, or run containers here, may read them.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets keys
chmod 0700 secrets keys
cd secrets

# new FILE COMMAND…: what the command prints becomes the file, if there is none yet.
new() {
	file=$1
	shift
	if [ ! -s "$file" ]; then
		"$@" >"$file.new"
		mv "$file.new" "$file"
	fi
	chmod 0444 "$file"
}
# word prints a password without anything that a configuration could trip over.
word() { openssl rand -hex 24 | tr -d '\n'; }
uuid() { openssl rand -hex 16 | sed 's/\(........\)\(....\)\(....\)\(....\)\(............\)/\1-\2-\3-\4-\5/' | tr -d '\n'; }

for who in broker admin engine link worker canary app; do new "kafka-$who" word; done
for who in engine-admin engine-read grafana; do new "$who" word; done
# Slack's are nobody's to make: until yours are there the bot (profile slack) is turned away.
for who in slack-bot-token slack-app-token; do new "$who" printf 'put-yours-here'; done
for who in consul-management consul-worker consul-holder; do new "$who" uuid; done
management() { printf 'acl {\n  enabled = true\n  default_policy = "deny"\n  tokens {\n    initial_management = "%s"\n    agent = "%s"\n  }\n}\n' "$(cat consul-management)" "$(cat consul-management)"; }
new consul-acl.hcl management

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 2>/dev/null; }
authority() { openssl req -x509 -new -key ca.key -days 3650 -subj "/CN=drawbridge compose authority" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign; }
new ca.key key
new ca.pem authority
for site in east west; do
	certificate() {
		printf 'subjectAltName=DNS:engine-%s,DNS:engine-%s-1,DNS:engine-%s-2,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' $site $site $site >ext
		openssl req -new -key "engine-$site.key" -subj "/CN=engine-$site" |
			openssl x509 -req -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" -days 825 -extfile ext 2>/dev/null
		rm ext
	}
	new "engine-$site.key" key
	new "engine-$site.crt" certificate
done
chmod 0400 ca.key

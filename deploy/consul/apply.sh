#!/bin/sh
# Makes a policy of this folder in one Consul, and a token that has it:
#
#   CONSUL_HTTP_ADDR=consul.east.example:8500 CONSUL_HTTP_TOKEN_FILE=management.token ./apply.sh worker worker.token
#
# The token's secret is what the second file holds, a UUID of your making (uuidgen), so that it need not be carried from here
# to where it is used. Twice does no harm.
set -eu
name=drawbridge-$1 rules=$(dirname "$0")/$1.hcl secret=$(cat "$2")

if consul acl policy read -name "$name" >/dev/null 2>&1; then
	consul acl policy update -name "$name" -rules "@$rules"
else
	consul acl policy create -name "$name" -rules "@$rules"
fi
if ! CONSUL_HTTP_TOKEN_FILE='' CONSUL_HTTP_TOKEN=$secret consul acl token read -self >/dev/null 2>&1; then
	consul acl token create -description "$name" -policy-name "$name" -secret "$secret" >/dev/null
fi

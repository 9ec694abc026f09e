#!/bin/sh
# Gives one of Drawbridge's principals the rights of a file here, on one cluster, by kafka-acls:
#
#   BOOTSTRAP=east-1:9093 COMMAND_CONFIG=admin.properties PAIR=orders TOPICS="orders payments audit-*" \
#     CONSUMER_GROUPS="billing reporting" ./apply.sh engine User:drawbridge-engine
#
# Each line of the file is a call of kafka-acls without what is the same in all. TOPICS and GROUPS stand for the names given
# (a name that ends in * is a prefix, which makes a call of its own), PAIR for the pair's name. Both have the pair's own
# too, which are mirrored as the others are: drawbridge.canary.PAIR, and topic and group of its drills. Twice does no harm.
# KAFKA_ACLS is how kafka-acls is called here; KAFKA_ACLS=echo only prints the calls.
set -efu
what=$1 principal=$2
: "${BOOTSTRAP:?}" "${PAIR:?}" "${TOPICS:?}" "${CONSUMER_GROUPS=}" "${KAFKA_ACLS:=kafka-acls}"

TOPICS="$TOPICS drawbridge.canary.$PAIR _drawbridge.drill.$PAIR"
CONSUMER_GROUPS="$CONSUMER_GROUPS _drawbridge.drill.$PAIR"

# named FLAG NAMES: flag and name for each plain name; prefixed FLAG NAMES: for each that ends in *.
named() { for n in $2; do case $n in *\*) ;; *) printf ' %s %s' "$1" "$n" ;; esac; done; }
prefixed() { for n in $2; do case $n in *\*) printf ' %s %s' "$1" "${n%\*}" ;; esac; done; }

call() {
	"$KAFKA_ACLS" --bootstrap-server "$BOOTSTRAP" ${COMMAND_CONFIG:+--command-config "$COMMAND_CONFIG"} \
		--add --force --allow-principal "$principal" "$@" </dev/null
}

# some RIGHTS FLAG NAMES: one call for the plain names and one for the prefixes, if there are any.
some() {
	of=$(named "$2" "$3")
	if [ -n "$of" ]; then call $1 $of; fi
	of=$(prefixed "$2" "$3")
	if [ -n "$of" ]; then call $1 $of --resource-pattern-type prefixed; fi
}

while read -r line; do
	case $line in
	'' | '#'*) ;;
	*' --topic TOPICS') some "${line% --topic TOPICS}" --topic "$TOPICS" ;;
	*' --group GROUPS') some "${line% --group GROUPS}" --group "$CONSUMER_GROUPS" ;;
	*PAIR) call ${line%PAIR}"$PAIR" ;;
	*) call $line ;;
	esac
done <"$(dirname "$0")/$what.acls"

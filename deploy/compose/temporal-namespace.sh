#!/bin/sh
# Makes the namespace and the search attributes that Drawbridge's workflows write; a worker refuses a namespace without them.
set -eu
namespace=drawbridge
# Reports of runs are kept in Temporal as long as this; as files they stay.
temporal operator namespace describe --namespace $namespace >/dev/null 2>&1 ||
	temporal operator namespace create --namespace $namespace --retention 90d
for attribute in DrPair=Keyword DrOperation=Keyword DrPhase=Keyword DrEpoch=Int DrOutcome=Keyword; do
	temporal operator search-attribute list --namespace $namespace | grep -qw "${attribute%=*}" ||
		temporal operator search-attribute create --namespace $namespace --name "${attribute%=*}" --type "${attribute#*=}"
done

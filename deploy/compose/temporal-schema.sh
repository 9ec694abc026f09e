#!/bin/sh
# Makes or upgrades both of Temporal's databases, by the tool of its admin image.
set -eu
for db in temporal:temporal temporal_visibility:visibility; do
	sql() { temporal-sql-tool --plugin postgres12 --ep temporal-db -p 5432 -u temporal --db "${db%:*}" "$@"; }
	sql create
	sql setup-schema -v 0.0
	sql update-schema -d "/etc/temporal/schema/postgresql/v12/${db#*:}/versioned"
done

# A client of the pair orders, group billing, under consul-template, where drctl exec is not wanted. Change the names, here and
# in start.sh.ctmpl. Token, TLS and address come from Consul's own variables (CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN_FILE, …)
# and the policy deploy/consul/client.hcl is enough.

template {
  source      = "start.sh.ctmpl"
  destination = "start.sh"
  perms       = "0750"
  # A record without what the template reads stops consul-template instead of starting the client anywhere.
  error_on_missing_key = true
}

# Started when the record is there, and again whenever start.sh has become another one: frozen, another site, other servers.
# What does not concern the client (the operation's lock, debts, the phase moving) changes nothing in it.
exec {
  command      = ["sh", "start.sh", "./billing"]
  kill_signal  = "SIGTERM"
  kill_timeout = "30s" # more than producers need to flush (delivery.timeout.ms)
  # No splay: it would delay the stop, which a freeze waits for.
}

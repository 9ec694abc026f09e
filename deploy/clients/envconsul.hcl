# A client of the pair orders, group billing, under envconsul, for who has it already. It knows neither `frozen` nor epochs that
# go back: start.sh.ctmpl and drctl exec do, and are better wherever they can be had. Change the names. Token, TLS and address
# come from Consul's own variables (CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, …) and the policy deploy/consul/client.hcl is enough.
# Nobody has run this: see "Not tried" in ../README.md.

# The child gets DRAWBRIDGE_BOOTSTRAP, and is started again when that changes. envconsul reads what is below a prefix and leaves
# out a key that is the prefix itself, so the prefix is a part of the key's name, and the format gives it back. Never the whole
# folder: each acknowledgement of a client, each hold and each lock in it would restart the child.
prefix {
  path   = "drawbridge/orders/boot"
  format = "DRAWBRIDGE_BOOT{{ key }}"
}
prefix {
  path   = "drawbridge/orders/sec"
  format = "DRAWBRIDGE_SEC{{ key }}_REF"
}
upcase = true

exec {
  command      = "./billing"
  kill_signal  = "SIGTERM"
  kill_timeout = "30s" # more than producers need to flush (delivery.timeout.ms)
  # No splay: it would delay a move.
}

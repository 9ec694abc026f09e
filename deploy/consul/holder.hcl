# What people may who may stop every operation on the pair orders and let it go again (drctl hold, drctl release): the kill
# switch, which needs Consul only. Give "write" on drawbridge/hold to those who may stop all pairs (--all).
key_prefix "drawbridge/orders/" {
  policy = "read"
}
key "drawbridge/orders/hold" {
  policy = "write"
}
key "drawbridge/hold" {
  policy = "read"
}

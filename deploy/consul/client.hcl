# What the instances of one group may (drctl exec, package client): here of the group billing of the pair orders. They
# read where to work and say that they have moved. A client that could write the record could send all the others astray.
key "drawbridge/orders/active" {
  policy = "read"
}
key "drawbridge/orders/bootstrap" {
  policy = "read"
}
key "drawbridge/orders/security" {
  policy = "read"
}
key_prefix "drawbridge/orders/acks/billing/" {
  policy = "write"
}

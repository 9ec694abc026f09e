# What people and programs may who only look at the pair orders: drctl status and readiness, templates, dashboards.
key_prefix "drawbridge/orders/" {
  policy = "read"
}
key "drawbridge/hold" {
  policy = "read"
}

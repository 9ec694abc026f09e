# What drctl announce may: read where the pair orders is active, and keep the service orders-kafka, the DNS name of those servers.
# Whoever may write this service can send its clients anywhere.
key "drawbridge/orders/active" {
  policy = "read"
}
service "orders-kafka" {
  policy = "write"
}

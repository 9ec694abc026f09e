# What a worker may in the Consul of each site, for the pair orders. Its token is consul.token_file of the site in the plan.
#
# It reads the record and its plain keys by one list, and writes these three by one transaction; it writes down what retention
# a recovery holds; it heeds holds, of the pair
# and of all pairs, and puts none. It takes no session and registers nothing. Where acl.enable_key_list_policy is on, the prefix wants "list" instead of "read".
key_prefix "drawbridge/orders/" {
  policy = "read"
}
key "drawbridge/orders/active" {
  policy = "write"
}
key "drawbridge/orders/bootstrap" {
  policy = "write"
}
key "drawbridge/orders/security" {
  policy = "write"
}
key_prefix "drawbridge/orders/retention/" {
  policy = "write"
}
key "drawbridge/hold" {
  policy = "read"
}

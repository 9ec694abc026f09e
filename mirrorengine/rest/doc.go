// Package rest serves the engine's REST contract: Confluent's Kafka REST v3 for
// cluster links under /kafka/v3 and /v3, Drawbridge's own calls under
// /drawbridge/v1, and /metrics, /healthz, /readyz.
//
// It decodes, calls Links and encodes; it decides nothing about links and never
// touches a record. It has no TLS yet: beyond loopback put a TLS proxy in front
// of it (Listen demands a token there). Start at Server.routes; what it needs of
// the engine is Links.
package rest

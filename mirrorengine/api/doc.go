// Package api is the wire of the mirroring engine: the Kafka REST v3 Cluster
// Linking shapes, Drawbridge's own extensions, the error body, the paths and a
// client. It imports the standard library only, so that the engine, the worker
// and the command line share one description.
//
// It decides nothing and knows no Kafka client. Start at Client; field by field
// the contract is Confluent's OpenAPI of kafka-rest v3 (see ARCHITECTURE.md,
// "REST contract").
package api

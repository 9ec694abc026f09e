// Package wire has the engine's own connections to Kafka brokers, for the data
// requests: Fetch and Produce.
//
// It is there for what a general client cannot do: read a Fetch answer into a
// pooled buffer, let record batches be slices of it, and write these slices into
// Produce requests without a copy; keep several requests under way on one
// connection in a chosen order; speak fetch sessions for partitions that come
// and go. It dials, logs in and speaks the protocol, and knows neither links nor
// mirrors. Metadata, groups and admin stay with franz-go's client, whose dialer,
// mechanisms and client id are used here too.
//
// A Line leads to one broker and gives the Conn to send on; Produce (produce.go)
// and Session (session.go) make the requests. Pool and Buffer say who may
// use memory and for how long; Budget and Pace bound how much is fetched.
package wire

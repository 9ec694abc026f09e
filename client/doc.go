// Package client lets an application follow a pair's record of truth: which site its clients work at, at which epoch, and
// whether they may work at all.
//
// A [Watcher] holds blocking queries on one or more sites' Consul agents, believes the newest valid record, keeps it on
// disk and goes on with that copy while no Consul answers. It does not stop or start Kafka clients (`drctl exec` does, for
// any command), reads no credentials and writes nothing into Consul but the acknowledgements that its caller asks for.
//
// Start with [New] and [Watcher.Watch]; what the record says is in package record. Rules that keep a client safe:
//
//   - an epoch never goes back: a lower one is ignored and reported ([LowerEpochError]). That is what a Consul shows that
//     came back after a failover, or that was restored from a snapshot;
//   - equal epochs with another content are a split brain ([SplitBrainError]): the record in use is kept;
//   - a record that is damaged, of another pair or another schema is reported and ignored.
package client

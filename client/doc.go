// Package client lets an application follow a pair's record of truth: which site its clients work at, at which epoch, and
// whether they may work at all.
//
// A [Watcher] holds blocking queries on one or more sites' Consul agents, believes the newest valid record, keeps it on
// disk and goes on with that copy while no Consul answers. [Watcher.Follow] runs a function of the application's where the
// record says, and stops it when it says so (`drctl exec` does that for any command). It knows no Kafka client, reads no
// credentials and writes nothing into Consul but acknowledgements.
//
// Start with [New] and [Watcher.Follow]; client/example is an application with franz-go. What the record says is in package
// record. Rules that keep a client safe:
//
//   - an epoch never goes back: a lower one is ignored and reported ([LowerEpochError]). That is what a Consul shows that
//     came back after a failover, or that was restored from a snapshot;
//   - equal epochs with another content are a split brain ([SplitBrainError]): the record in use is kept;
//   - a record that is damaged, of another pair or another schema is reported and ignored.
package client

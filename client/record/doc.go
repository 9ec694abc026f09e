// Package record is the record of truth of a pair: which site its clients use,
// at which epoch, and what is owed. It is the public wire format of the Consul
// key drawbridge/<pair>/active, for applications as well as for the runbooks.
//
// It talks to no Consul and starts nothing: reading and writing (by
// compare-and-set) is the caller's. Start at Record, Unmarshal and SiteFor for
// a client, at Compare and RaisesEpoch for a writer.
package record

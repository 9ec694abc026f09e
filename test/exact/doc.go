// Package exact compares a mirror with its source, record by record: what is
// lost, what is there twice, what stands in another order, what never was.
//
// It is the referee, so it shares nothing with the engine: it reads both
// clusters as any consumer does (kgo, kadm) and computes the rest from that. Its
// verdict on compacted topics needs to know what was written (package load). It
// starts nothing. Start at Compare.
package exact

// Package exactlyonce proves on Apache Kafka that nothing is lost, doubled or put
// in another order while everything around the record path fails: per seed more
// than 100,000 committed records of all kinds of producers are mirrored while
// engines and brokers are killed, leaders move, followers stall and
// acknowledgements are lost. Each fault is drawn from the seed, and counts only
// if its effect was seen. The referee is test/exact, which knows no engine.
//
// Engines are killed with a produce that has no answer: one that has landed and
// whose answer is kept from the engine, or one that the followers do not have.
//
// Start at Run, which plays one seed. `make test-exactly-once SEEDS=n FIRST=s`
// plays many and writes out/exactly-once.json.
package exactlyonce

// Package activities is the hands of the runbooks: it implements
// workflows.Steps against mirroring engines (REST), Kafka (kadm), Consul, Slack
// and PagerDuty. Every method looks, acts if needed and looks again, so that it
// may run any number of times.
//
// It judges nothing (workflows/runbook does), holds no state that a restart
// would miss but the threads of Slack messages, and reads no record of a user's
// topic. Which fault is worth another try is decided in errors.go and nowhere
// else. Start at New; one file per room: record.go, mirror.go, fence.go, …
package activities

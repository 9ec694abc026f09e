package check

import "time"

// Outcomes of an attempt, in the order in which a log may hold them.
const (
	// Sent is written before the attempt is handed to the Kafka client, so that
	// a producer that is killed knows afterwards what may have left it.
	Sent = "sent"
	// Acked: the cluster acknowledged it.
	Acked = "acked"
	// Unknown: no acknowledgement came; it may stand in the log or not.
	Unknown = "unknown"
)

// Attempt is a line of a sample producer's log. A record that is sent again has
// a higher Attempt.
type Attempt struct {
	At      time.Time `json:"at"`
	Outcome string    `json:"outcome"`
	Topic   string    `json:"topic"`
	Record  Name      `json:"record"`
	Attempt int       `json:"attempt"`
	// Seq is the place of the attempt in the order of sending, over all lives of
	// the producer.
	Seq       int64  `json:"seq"`
	Site      string `json:"site,omitempty"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"` // of an acknowledged attempt
	Error     string `json:"error,omitempty"`
}

// Read is a line of a sample consumer's log: one record that its group got.
type Read struct {
	At        time.Time `json:"at"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Record    Name      `json:"record"`
	Attempt   int       `json:"attempt"`
	Site      string    `json:"site"`
	// Recovered: it came with the provenance headers of a recovery's append.
	Recovered bool `json:"recovered,omitempty"`
}

// Stored is a record that stands in a cluster.
type Stored struct {
	Partition int32
	Offset    int64
	Record    Name
	Attempt   int
	Recovered bool // as in Read
}

// Topic is all evidence about one topic.
type Topic struct {
	Name string
	// Log is the producer's, in its own order.
	Log []Attempt
	// Reads are the group's, in its own order.
	Reads []Read
	// Primary is the returned primary before failback rebuilt it; Standby and
	// Home are both at the end. Each in offset order per partition.
	Primary, Standby, Home []Stored
	// Stops are the source offsets, by partition, at which the failover ended
	// the mirror.
	Stops map[int32]int64
	// FailoverForecast and RecoveryForecast are the redeliveries that the dry
	// run and the recovery announced.
	FailoverForecast, RecoveryForecast int64
	// LaggedFound, RPOExact and RPOEstimate are what the runs reported.
	LaggedFound, RPOExact, RPOEstimate int64
}

// Evidence is everything that Judge looks at.
type Evidence struct {
	Kafka    string // "kfake" or "apache"
	Versions Versions
	// HomeSite and StandbySite are the sites' names.
	HomeSite, StandbySite string
	// Tutorial is the topic that the tutorial's figures are about.
	Tutorial string
	Want     Want
	Topics   []Topic

	Active string // after everything
	Epoch  int64
	Fence  Fence
	RTO    time.Duration
	// Planned: nobody died; clients were moved away and home again by planned
	// moves, of which the fences Failover and Home, RTO and FailbackDone tell.
	Planned bool
	// FailbackDone: the failback ended as done. GroupHome and MirrorsAgain are
	// looked at here, in reads and logs.
	FailbackDone bool
	// ApprovedBy and AcknowledgedBy are from the failover's report.
	ApprovedBy, AcknowledgedBy []string
	Chat                       *Chat // nil: the failover was driven by drctl
	Steps                      []Step
	// Faults are what went wrong on the way, each enough for ok false.
	Faults []string
}

// Want is what the tutorial says of its topic.
type Want struct {
	ResumedAt     Name
	AfterFailover []Name
	AfterRecovery []Name
	Lagged        int64
}

// Tutorial is the Active/Passive Tutorial: the group has read 5 of 10, lag-1 to
// lag-3 are never mirrored, 11 to 15 follow on the standby.
func Tutorial() Want {
	return Want{
		ResumedAt:     "6",
		AfterFailover: []Name{"6", "7", "8", "9", "10", "11", "12", "13", "14", "15"},
		AfterRecovery: []Name{"lag-1", "lag-2", "lag-3"},
		Lagged:        3,
	}
}

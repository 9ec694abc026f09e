package check

import (
	"encoding/json"
	"strconv"
)

// Name of a record as its producer numbered it: "6", "lag-1". In JSON a number
// stays a number.
type Name string

// MarshalJSON writes whole numbers as numbers.
func (n Name) MarshalJSON() ([]byte, error) {
	if i, err := strconv.ParseInt(string(n), 10, 64); err == nil && strconv.FormatInt(i, 10) == string(n) {
		return []byte(n), nil
	}
	return json.Marshal(string(n))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (n *Name) UnmarshalJSON(b []byte) error {
	var i int64
	if err := json.Unmarshal(b, &i); err == nil {
		*n = Name(strconv.FormatInt(i, 10))
		return nil
	}
	var s string
	err := json.Unmarshal(b, &s)
	*n = Name(s)
	return err
}

// Versions of what ran.
type Versions struct {
	Temporal string `json:"temporal"`
	Consul   string `json:"consul"`
	Kafka    string `json:"kafka"`
}

// Fence levels: of the lost primary at failover, of the returned one, and of
// the standby when everybody went home.
type Fence struct {
	Failover string `json:"failover"`
	Returned string `json:"returned"`
	Home     string `json:"home"`
}

// Step of the demo.
type Step struct {
	Name   string `json:"name"`
	Millis int64  `json:"ms"`
}

// Report is out/demo.json. The figures at the top speak of the tutorial's topic,
// but lost, duplicates and redelivered, which are summed over all topics. In the
// story of planned moves "failover" is the move away, the lists of what was read
// are empty, and nothing lags.
type Report struct {
	OK       bool     `json:"ok"`
	Planned  bool     `json:"planned"`
	Kafka    string   `json:"kafka"`
	Versions Versions `json:"versions"`

	ResumedAt             Name   `json:"resumed_at"`
	ConsumedAfterFailover []Name `json:"consumed_after_failover"`
	ConsumedAfterRecovery []Name `json:"consumed_after_recovery"`
	LaggedFound           int64  `json:"lagged_found"`
	LaggedRecovered       int64  `json:"lagged_recovered"`
	RPOEstimate           int64  `json:"rpo_records_estimate"`
	RPOExact              int64  `json:"rpo_records_exact"`

	Topics     map[string]TopicReport `json:"topics"`
	Lost       int64                  `json:"lost"`
	Duplicates int64                  `json:"duplicates"`
	// Redelivered on the standby and at home, to all groups.
	Redelivered int64 `json:"redelivered"`

	Active     string `json:"active"`
	Epoch      int64  `json:"epoch"`
	Fence      Fence  `json:"fence"`
	RTOMillis  int64  `json:"rto_ms"`
	FailbackOK bool   `json:"failback_ok"`
	// ApprovedBy and AcknowledgedBy are who approved the failover and who looked after
	// it, from its report. Chat is what a failover in Slack left there.
	ApprovedBy     []string `json:"approved_by"`
	AcknowledgedBy []string `json:"acknowledged_by"`
	Chat           *Chat    `json:"chat,omitempty"`
	Steps          []Step   `json:"steps"`
	// Faults say in words why ok is false.
	Faults []string `json:"faults"`
}

// TopicReport counts one topic.
type TopicReport struct {
	Acked int64 `json:"acked"`
	// Unknown lists the attempts, as record#attempt, whose outcome their producer never learnt: neither acked nor lost.
	Unknown   []string `json:"unknown_outcome"`
	InPrimary int64    `json:"in_primary"`
	InStandby int64    `json:"in_standby"`
	InHome    int64    `json:"in_home"`
	// LaggedFound is what the recovery reported; LaggedInPrimary what the checker
	// read in the returned primary behind the stop offsets; LaggedRecovered how
	// many of these stand in the standby.
	LaggedFound     int64 `json:"lagged_found"`
	LaggedInPrimary int64 `json:"lagged_in_primary"`
	LaggedRecovered int64 `json:"lagged_recovered"`
	RPOExact        int64 `json:"rpo_records_exact"`
	// Lost: acknowledged, and not at home or not in the standby at the end.
	Lost int64 `json:"lost"`
	// Duplicates: (record, attempt) pairs that stand twice in one cluster.
	Duplicates int64 `json:"duplicates"`
	// Reordered: records that stand behind one that was sent later; recovered
	// records are compared among themselves.
	Reordered int64 `json:"reordered"`
	// Unread: acknowledged, and never given to the group.
	Unread int64 `json:"unread"`
	// Foreign: records in a cluster that the producer never sent.
	Foreign     int64       `json:"foreign"`
	Redelivered Redelivered `json:"redelivered"`
	Forecast    Forecast    `json:"redelivery_forecast"`
}

// Redelivered counts records that a group got again: on the standby, on the
// standby as appended by the recovery, and back at home.
type Redelivered struct {
	Failover int64 `json:"failover"`
	Recovery int64 `json:"recovery"`
	Home     int64 `json:"home"`
}

// Forecast is what the runs announced.
type Forecast struct {
	Failover int64 `json:"failover"`
	Recovery int64 `json:"recovery"`
}

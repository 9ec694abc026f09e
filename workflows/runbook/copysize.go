package runbook

import (
	"fmt"
	"math"
	"time"
)

// CopySize is what copying topics from their start costs.
type CopySize struct {
	// Records are counted by offsets, which is an upper bound.
	Records int64 `json:"records"`
	// Bytes of the leaders' logs, -1 where the cluster does not tell.
	Bytes  int64      `json:"bytes"`
	Topics int        `json:"topics"`
	Lines  []CopyLine `json:"by_topic,omitempty"`
	// BytesPerSecond was measured in MeasuredBy, the pair's last run that copied
	// until its mirrors were at the tip; 0 where there was none.
	BytesPerSecond float64 `json:"bytes_per_second,omitempty"`
	MeasuredBy     string  `json:"measured_by,omitempty"`
}

// CopyLine is one topic of a CopySize; Seconds is 0 where no rate is known.
type CopyLine struct {
	Topic   string  `json:"topic"`
	Records int64   `json:"records"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds,omitempty"`
}

// Foresee says of each topic how long its share of the copy takes at the measured
// rate. Topics are copied side by side: the sum is the time of all.
func (s CopySize) Foresee() CopySize {
	for i := range s.Lines {
		s.Lines[i].Seconds = s.seconds(s.Lines[i].Bytes)
	}
	return s
}

func (s CopySize) seconds(bytes int64) float64 {
	if s.BytesPerSecond <= 0 || bytes < 0 {
		return 0
	}
	return math.Round(float64(bytes)/s.BytesPerSecond*10) / 10
}

// Text is what an approver reads.
func (s CopySize) Text() string {
	size, took := "bytes unknown", "how long is not known, since no kept report of this pair tells the rate of a copy"
	if s.Bytes >= 0 {
		size = fmt.Sprintf("%d bytes", s.Bytes)
	}
	if s.BytesPerSecond > 0 && s.Bytes >= 0 {
		took = fmt.Sprintf("about %s at the %.1f MB/s of %s", time.Duration(s.seconds(s.Bytes)*float64(time.Second)).Round(time.Second), s.BytesPerSecond/1e6, s.MeasuredBy)
	}
	return fmt.Sprintf("copies %d topics anew: %d records, %s, %s", s.Topics, s.Records, size, took)
}

// FailForward is the advice beside a failback that copies.
func (s CopySize) FailForward(pair, active, home string) string {
	return fmt.Sprintf("going home %s, and stops all clients once more; unless something speaks for %s, stay at %s: drctl restore %s protects the pair from there",
		s.Text(), home, active, pair)
}

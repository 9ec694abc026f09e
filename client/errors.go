package client

import (
	"errors"
	"fmt"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// ErrNoRecord is reported when a Consul answers but holds no record of the pair: `drctl setup` has not run, or the agent
// lost its data.
var ErrNoRecord = errors.New("no record of truth")

// LowerEpochError reports a record that was ignored because a newer one was seen before.
type LowerEpochError struct {
	Source string // which Consul, or the file
	Seen   int64  // the ignored epoch
	Kept   int64  // the epoch in use
}

func (e *LowerEpochError) Error() string {
	return fmt.Sprintf("%s: record of epoch %d ignored, epoch %d was seen before; this Consul is behind or was restored (`drctl status` shows all copies)",
		e.Source, e.Seen, e.Kept)
}

// SplitBrainError reports two records of the same epoch that were made by different operations or send clients to
// different places. The one in use is kept; a person decides which is right.
type SplitBrainError struct {
	Source    string
	Epoch     int64
	SeenOpID  string
	KeptOpID  string
	SeenSites []string // active sites of the record that was not believed
	KeptSites []string
}

func (e *SplitBrainError) Error() string {
	return fmt.Sprintf("%s: split brain at epoch %d: operation %s says active %v, but operation %s said %v and is kept; compare the sites' records before anything is written",
		e.Source, e.Epoch, e.SeenOpID, e.SeenSites, e.KeptOpID, e.KeptSites)
}

// ConsulError reports a Consul agent that did not answer a query. The watcher tries again without end.
type ConsulError struct {
	Source string
	Err    error
}

func (e *ConsulError) Error() string {
	return fmt.Sprintf("consul %s does not answer: %v", e.Source, e.Err)
}

func (e *ConsulError) Unwrap() error { return e.Err }

func splitBrain(source string, seen, kept record.Record) *SplitBrainError {
	return &SplitBrainError{
		Source: source, Epoch: seen.Epoch,
		SeenOpID: seen.OpID, KeptOpID: kept.OpID,
		SeenSites: seen.Active, KeptSites: kept.Active,
	}
}

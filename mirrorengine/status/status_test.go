package status

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/transitions.txt anew; review the diff")

const golden = "testdata/transitions.txt"

// Every status with every event. The file is what a reviewer reads.
func TestEveryStatusAnswersEveryEventAsReviewed(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Mirror status and event to next status, or the refusal for topic 'orders' on link 'east-west'.\n")
	b.WriteString("# \"=\" is no change. Written by `go test -rewrite`; review the diff.\n")
	for _, from := range append([]Status{None}, All()...) {
		fmt.Fprintf(&b, "\n%v\n", from)
		for _, e := range Events() {
			to, err := Next(from, e)
			var r *Refusal
			switch {
			case errors.As(err, &r) && r.Fault():
				fmt.Fprintf(&b, "  %-28v cannot be\n", e)
			case errors.As(err, &r):
				fmt.Fprintf(&b, "  %-28v refused: %s\n", e, r.Text("orders", "east-west"))
			case err != nil:
				t.Fatalf("%v + %v: %v is not a refusal", from, e, err)
			case to == from:
				fmt.Fprintf(&b, "  %-28v =\n", e)
			default:
				fmt.Fprintf(&b, "  %-28v %v\n", e, to)
			}
			if err != nil && to != from {
				t.Errorf("%v + %v: refused, and yet %v", from, e, to)
			}
		}
	}
	b.WriteString("\nlink\n")
	for from := LinkStateActive; from <= LinkStatePaused; from++ {
		for _, e := range []Event{LinkIsPaused, LinkIsResumed, SourceLost, SourceFound, LinkHasFailed, LinkRecovered} {
			to, err := NextLink(from, e)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "  %-12v %-15v %v\n", from, e, to)
		}
	}
	if *rewrite {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Fatalf("the table is not what was reviewed (-want +got):\n%s", diff)
	}
}

func TestOutOfStoppedLeadOnlyDeletionAndRejoin(t *testing.T) {
	for _, e := range Events() {
		to, err := Next(Stopped, e)
		if err == nil && to != Stopped && e != Deleted && e != Rejoined {
			t.Errorf("%v leads from STOPPED to %v: its writers would be shut out", e, to)
		}
	}
}

func TestOnlyAFinishedStopLeadsToStopped(t *testing.T) {
	for _, from := range append([]Status{None}, All()...) {
		for _, e := range Events() {
			if to, err := Next(from, e); err == nil && to == Stopped && from != Stopped && (from != PendingStopped || e != StopFinished) {
				t.Errorf("%v leads from %v to STOPPED without a fence and recorded stop offsets", e, from)
			}
		}
	}
}

func TestFailoverIsPossibleWhereverPromoteIsNot(t *testing.T) {
	for _, from := range []Status{Active, Failed, LinkFailed, LinkPaused, Paused, SourceUnavailable, PendingMirror, PendingStopped} {
		if to, err := Next(from, FailoverRequested); err != nil || to != PendingStopped {
			t.Errorf("failover from %v: %v, %v", from, to, err)
		}
		if to, err := Next(from, PromoteRequested); (err == nil) != (from == Active) || err == nil && to != PendingStopped {
			t.Errorf("promote from %v: %v, %v", from, to, err)
		}
	}
}

func TestAStopTakenBackLeavesTheMirrorAsItWas(t *testing.T) {
	for _, before := range All() {
		during, err := Next(before, FailoverRequested)
		e, giveUpErr := GiveUp(before)
		if err != nil || before == PendingStopped {
			if giveUpErr == nil {
				t.Errorf("%v: a stop that cannot begin can be taken back by %v", before, e)
			}
			continue
		}
		if giveUpErr != nil {
			t.Errorf("%v: %v", before, giveUpErr)
			continue
		}
		if after, err := Next(during, e); err != nil || after != before {
			t.Errorf("%v became %v (%v)", before, after, err)
		}
	}
}

func TestAPausedMirrorStaysPausedOverItsLinksTroubles(t *testing.T) {
	s := Paused
	for _, e := range []Event{LinkIsPaused, LinkIsResumed, SourceLost, SourceFound, LinkHasFailed, LinkRecovered} {
		if s, _ = Next(s, e); s != Paused {
			t.Fatalf("after %v it is %v", e, s)
		}
	}
}

func TestAMirrorThatBecomesActiveTakesItsLinksState(t *testing.T) {
	for link, want := range map[LinkState]Status{
		LinkStateActive: Active, LinkStatePaused: LinkPaused, LinkStateFailed: LinkFailed, LinkStateUnavailable: SourceUnavailable,
	} {
		s, err := Next(Paused, Resume)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range link.Facts() {
			if s, err = Next(s, e); err != nil {
				t.Fatal(err)
			}
		}
		if s != want {
			t.Errorf("resumed on a link in %v it is %v, want %v", link, s, want)
		}
	}
}

func TestEveryStatusIsReachedButThoseOfLaterWork(t *testing.T) {
	reached := map[Status]bool{None: true}
	for grown := true; grown; {
		grown = false
		for from := range reached {
			for _, e := range Events() {
				if to, err := Next(from, e); err == nil && !reached[to] {
					reached[to], grown = true, true
				}
			}
		}
	}
	for _, s := range All() {
		later := s == PendingSynchronize || s == PendingSetupForRestore || s == PendingRestore
		if reached[s] == later {
			t.Errorf("%v: reached %v", s, reached[s])
		}
	}
}

func TestStatusesAreTheContractsWords(t *testing.T) {
	// The enum of the REST v3 specification.
	contract := strings.Fields("ACTIVE FAILED LINK_FAILED LINK_PAUSED PAUSED PENDING_STOPPED SOURCE_UNAVAILABLE STOPPED PENDING_MIRROR PENDING_SYNCHRONIZE PENDING_SETUP_FOR_RESTORE PENDING_RESTORE")
	var got []string
	for _, s := range All() {
		p, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Status
		if err := json.Unmarshal(p, &back); err != nil || back != s {
			t.Errorf("%s read back as %v (%v)", p, back, err)
		}
		got = append(got, s.String())
	}
	if diff := cmp.Diff(contract, got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	for _, bad := range []Status{None, 13, 255} {
		if _, err := json.Marshal(bad); err == nil || bad.Valid() {
			t.Errorf("%v goes on the wire", bad)
		}
	}
	for _, word := range []string{"", "UNKNOWN", "active", "(none)"} {
		if s, err := Parse(word); err == nil {
			t.Errorf("%q is read as %v", word, s)
		}
	}
}

func TestARefusalTellsTheOperatorWhatToDo(t *testing.T) {
	_, err := Next(Stopped, FailoverRequested)
	var r *Refusal
	if !errors.As(err, &r) || !r.Stopped() || r.Fault() {
		t.Fatalf("%v", err)
	}
	if got, want := r.Text("topic-2", "my-new-link-1"), "Topic 'topic-2' has already stopped its mirror from 'my-new-link-1'"; got != want {
		t.Errorf("%q, want the contract's %q", got, want)
	}
	if got, want := err.Error(), "failover refused in mirror status STOPPED: the topic has already stopped its mirror from its link"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := Next(Status(99), Pause); !errors.As(err, &r) || !r.Fault() {
		t.Errorf("a status that is none: %v", err)
	}
	if _, err := Next(Active, Event(99)); !errors.As(err, &r) || !r.Fault() {
		t.Errorf("an event that is none: %v", err)
	}
	if _, err := NextLink(LinkStateActive, Pause); err == nil {
		t.Error("a link takes a mirror's event")
	}
	if _, err := NextLink(0, SourceLost); err == nil {
		t.Error("a link without a state takes an event")
	}
}

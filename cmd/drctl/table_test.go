package main

import (
	"bytes"
	"math/rand"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func drawn(s screen, lines [][]string) string {
	var b bytes.Buffer
	s.Writer = &b
	rows(&s, lines)
	return b.String()
}

func sample() [][]string {
	return [][]string{
		{"STEP", "STATE", "DETAIL"},
		{"fence source", "failed", "broker 3 of east did not answer within 10s; its producers may go on writing"},
		{"read record", "done", ""},
	}
}

func TestATableIsWrappedToTheTerminalAndToNothingElse(t *testing.T) {
	want := strings.Join([]string{
		"STEP          STATE   DETAIL",
		"fence source  failed  broker 3 of east did not",
		"                      answer within 10s; its",
		"                      producers may go on",
		"                      writing",
		"read record   done    -",
		"",
	}, "\n")
	if diff := cmp.Diff(want, drawn(screen{width: 46}, sample())); diff != "" {
		t.Errorf("46 columns (-want +got):\n%s", diff)
	}
	if got := drawn(screen{}, sample()); strings.Count(got, "\n") != 3 || strings.Contains(got, " \n") {
		t.Errorf("in a pipe a row is one line without blanks at its end:\n%s", got)
	}
}

// A row that ends early says something about all of the line.
func TestARowThatEndsEarlyMakesNoColumnWide(t *testing.T) {
	got := drawn(screen{}, [][]string{{"CONSUL", "EPOCH", "PHASE"}, {"east", "", "x"}, {"west", "no answer from 127.0.0.1"}, {"north", "3", "open"}})
	want := "CONSUL  EPOCH  PHASE\neast    -      x\nwest    no answer from 127.0.0.1\nnorth   3      open\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestATableFitsAndLosesNoLetter(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	for n := range 500 {
		columns := 1 + rng.Intn(5)
		lines := make([][]string, 1+rng.Intn(6))
		letters := map[rune]int{}
		for i := range lines {
			for range columns {
				cell := ""
				for range rng.Intn(8) {
					cell += strings.Repeat("aü", rng.Intn(9)) + " "
				}
				lines[i] = append(lines[i], strings.TrimSpace(cell)+"x")
			}
			for _, r := range strings.Join(lines[i], "") {
				letters[r]++
			}
		}
		width := columns*(narrow+len(gap)) + rng.Intn(60)
		got := drawn(screen{width: width, colour: n%2 == 0}, lines)
		got = strings.NewReplacer(bold, "", plain, "", green, "", red, "", yellow, "", cyan, "").Replace(got)
		for _, line := range strings.Split(got, "\n") {
			if utf8.RuneCountInString(line) > width {
				t.Fatalf("a line of %d characters on %d:\n%s", utf8.RuneCountInString(line), width, got)
			}
		}
		for _, r := range got {
			letters[r]--
		}
		for r, left := range letters {
			if r != ' ' && r != '\n' && left != 0 {
				t.Fatalf("%q is missing %d times in\n%s", r, left, got)
			}
		}
	}
}

func TestColoursAreForTerminalsAndWholeStatesOnly(t *testing.T) {
	if got := drawn(screen{width: 80}, sample()); strings.Contains(got, "\x1b") {
		t.Errorf("coloured without being asked to: %q", got)
	}
	got := drawn(screen{width: 80, colour: true}, sample())
	for _, want := range []string{red + "failed" + plain, green + "done" + plain, bold + "STEP" + plain} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	t.Setenv("NO_COLOR", "1")
	if s := screenOf(&bytes.Buffer{}); s.colour || s.width != 0 {
		t.Errorf("a buffer is taken for a terminal: %+v", s)
	}
}

func TestPairsAreAlignedAndWrappedBehindTheirNames(t *testing.T) {
	var b bytes.Buffer
	pairs(&screen{Writer: &b, width: 30}, "pair", "orders", "problem", "the worker does not answer now", "empty", "")
	want := "pair:     orders\nproblem:  the worker does not\n          answer now\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Whoever asks why a client does not come up finds it in the status.
func TestStatusNamesTheGroupsThatWaitForTheirWave(t *testing.T) {
	var b bytes.Buffer
	r := record.Record{Epoch: 2, Phase: record.Open, Active: []string{"west"}, Waits: []string{"audit", "reports"}}
	statusTable(&b, pairStatus{Copies: []recordCopy{{Site: "west", Record: &r}, {Site: "east", Error: "no answer"}}})
	if got := b.String(); strings.Count(got, "WAITING") != 1 || !strings.Contains(got, "by the record at west: audit") || !strings.Contains(got, "reports stand still") {
		t.Error(got)
	}
}

func TestStatusShowsWhoWasToldWhoAcknowledgedAndWhoMoved(t *testing.T) {
	at, moved := time.Date(2026, 11, 23, 3, 4, 5, 0, time.UTC), 1
	d := workflows.Status{
		Teams: []runbook.TeamLine{
			{Team: "payments", Groups: []string{"billing"}, Told: []runbook.Told{{At: at, PagerDuty: "sent", Slack: runbook.NotConfigured, Webhook: "the webhook answered 500, not 2xx"}}, AcknowledgedBy: "ann", AcknowledgedAt: at},
			{Team: "web", Groups: []string{"a", "b"}, EscalatedAt: at, Moved: &moved, Left: []string{"b"}},
		},
		Approvals: []runbook.Signed{{By: "ann", Decision: runbook.Acknowledge, Team: "payments", At: at, Reason: "on it"}},
	}
	var b bytes.Buffer
	runTable(&b, operator.Status{Pair: "orders", Run: &operator.RunInfo{}, Detail: &d})
	for _, line := range []string{
		"TEAM      GROUPS   TOLD",
		"payments  billing  PagerDuty: sent, webhook: the webhook answered 500, not 2xx at 2026-11-23 03:04:05",
		"by ann at 2026-11-23 03:04:05",
		"web       a, b     not yet",
		"1 of 2, not b",
		"acknowledge for team payments by ann at ",
	} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("nothing says %q:\n%s", line, b.String())
		}
	}
}

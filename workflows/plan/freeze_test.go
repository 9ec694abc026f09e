package plan_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// weekly is a weekly window with its zone resolved as LoadPlan does it.
func weekly(t *testing.T, name, zone, from, to string, at time.Time, days ...string) runbook.Freeze {
	t.Helper()
	offsets, err := plan.Offsets(zone, at)
	if err != nil {
		t.Fatal(err)
	}
	f := runbook.Freeze{Name: name, From: from, To: to, Days: days, Zone: zone}
	for _, o := range offsets {
		f.Offsets = append(f.Offsets, runbook.ZoneOffset(o))
	}
	return f
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	out, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFrozenNamesTheWindowAndItsEnd(t *testing.T) {
	start := at(t, "2026-06-01T00:00:00Z")
	night := weekly(t, "night", "Europe/Berlin", "22:00", "06:00", start, "fri")
	weekend := weekly(t, "weekend", "Europe/Berlin", "00:00", "00:00", start, "sat", "sun")
	year := runbook.Freeze{Name: "year end", From: "2026-12-18T18:00:00+01:00", To: "2027-01-04T08:00:00+01:00"}
	for name, c := range map[string]struct {
		freezes    []runbook.Freeze
		now        string
		want, till string
	}{
		"no window":                 {nil, "2026-06-05T20:30:00Z", "", ""},
		"before a weekly one":       {[]runbook.Freeze{night}, "2026-06-05T19:59:59Z", "", ""},
		"at its first instant":      {[]runbook.Freeze{night}, "2026-06-05T20:00:00Z", "night", "2026-06-06T04:00:00Z"},
		"behind midnight":           {[]runbook.Freeze{night}, "2026-06-06T03:59:59Z", "night", "2026-06-06T04:00:00Z"},
		"at its end":                {[]runbook.Freeze{night}, "2026-06-06T04:00:00Z", "", ""},
		"not on another day":        {[]runbook.Freeze{night}, "2026-06-06T20:30:00Z", "", ""},
		"in winter":                 {[]runbook.Freeze{night}, "2026-12-04T21:00:00Z", "night", "2026-12-05T05:00:00Z"},
		"days that join are one":    {[]runbook.Freeze{weekend}, "2026-06-06T10:00:00Z", "weekend", "2026-06-07T22:00:00Z"},
		"windows that join are one": {[]runbook.Freeze{night, weekend}, "2026-06-05T20:30:00Z", "night", "2026-06-07T22:00:00Z"},
		"fixed":                     {[]runbook.Freeze{year}, "2026-12-24T00:00:00Z", "year end", "2027-01-04T07:00:00Z"},
		"fixed, first instant":      {[]runbook.Freeze{year}, "2026-12-18T17:00:00Z", "year end", "2027-01-04T07:00:00Z"},
		"fixed, over":               {[]runbook.Freeze{year}, "2027-01-04T07:00:00Z", "", ""},
		"the longest one is named":  {[]runbook.Freeze{weekend, year}, "2026-12-26T12:00:00Z", "year end", "2027-01-04T07:00:00Z"},
	} {
		p := runbook.Plan{Pair: "orders", Freezes: c.freezes}
		got, until, frozen := p.Frozen(at(t, c.now))
		if got != c.want || frozen != (c.want != "") || frozen && !until.Equal(at(t, c.till)) {
			t.Errorf("%s: %q until %s, %t; want %q until %s", name, got, until, frozen, c.want, c.till)
		}
	}
}

// More than a year, every 15 minutes, against a twin that asks the machine's
// time zones: also in the nights when clocks are put forward and back.
func TestFrozenAgreesWithTheWallClock(t *testing.T) {
	start := at(t, "2026-01-05T00:00:00Z")
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range [][2]string{{"22:00", "06:00"}, {"01:00", "02:15"}, {"02:30", "03:30"}, {"00:00", "00:00"}} {
			f := weekly(t, "w", zone, w[0], w[1], start, "sat", "sun")
			p := runbook.Plan{Freezes: []runbook.Freeze{f}}
			twin := func(now time.Time) bool {
				local := now.In(loc)
				clock, day := local.Format("15:04"), func(t time.Time) bool {
					return slices.Contains(f.Days, strings.ToLower(t.Weekday().String()[:3]))
				}
				if f.From < f.To {
					return day(local) && clock >= f.From && clock < f.To
				}
				// Noon of the day before: a date that every zone has.
				before := time.Date(local.Year(), local.Month(), local.Day()-1, 12, 0, 0, 0, loc)
				return day(local) && clock >= f.From || day(before) && clock < f.To
			}
			for i := range 370 * 24 * 4 {
				now := start.Add(time.Duration(i) * 15 * time.Minute)
				_, until, frozen := p.Frozen(now)
				if frozen != twin(now) {
					t.Fatalf("%s %s-%s at %s (%s): %t", zone, w[0], w[1], now, now.In(loc), frozen)
				}
				if frozen && (twin(until) || !twin(until.Add(-time.Second)) || !until.After(now)) {
					t.Fatalf("%s %s-%s at %s: it does not end at %s (%s)", zone, w[0], w[1], now, until, until.In(loc))
				}
			}
		}
	}
}

func TestAWindowWithoutEndIsSaidToLastForWeeks(t *testing.T) {
	now := at(t, "2026-06-05T20:30:00Z")
	p := runbook.Plan{Freezes: []runbook.Freeze{weekly(t, "ever", "UTC", "00:00", "00:00", now, "mon", "tue", "wed", "thu", "fri", "sat", "sun")}}
	if _, until, frozen := p.Frozen(now); !frozen || until.Sub(now) < 7*24*time.Hour {
		t.Fatalf("until %s, %t", until, frozen)
	}
}

func TestOnlyWhatIsPlannedIsHeldByAFreeze(t *testing.T) {
	for op, want := range map[string]bool{
		runbook.OpSwitchover: true, runbook.OpFailback: true, runbook.OpDrill: true, runbook.OpSetUp: true,
		runbook.OpFailover: false, runbook.OpRecover: false, runbook.OpUnfence: false,
	} {
		if got := runbook.HeldByFreeze(op); got != want {
			t.Errorf("%s: %t", op, got)
		}
	}
}

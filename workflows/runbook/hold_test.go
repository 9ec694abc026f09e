package runbook

import (
	"strings"
	"testing"
	"time"
)

func TestWhichHoldRules(t *testing.T) {
	held := func(seq int64) *Hold { return &Hold{Held: true, Seq: seq, By: "ann", Reason: "audit"} }
	lifted := func(seq int64) *Hold { return &Hold{Seq: seq, By: "bob"} }
	at := func(site string, h *Hold) HoldCopy {
		return HoldCopy{Site: site, Scope: HoldPair, Reachable: true, Hold: h}
	}
	gone := HoldCopy{Site: "east", Scope: HoldPair}
	forged := func(c HoldCopy) HoldCopy {
		c.Unproven = "it is not ann's signature"
		return c
	}
	for name, c := range map[string]struct {
		copies []HoldCopy
		sites  string // of the hold on the pair, "" for none
		silent int
	}{
		"no key anywhere":                       {[]HoldCopy{at("east", nil), at("west", nil)}, "", 0},
		"held at both":                          {[]HoldCopy{at("east", held(1)), at("west", held(1))}, "east,west", 0},
		"held where the other did not hear":     {[]HoldCopy{at("east", nil), at("west", held(1))}, "west", 0},
		"released where the other did not hear": {[]HoldCopy{at("east", held(1)), at("west", lifted(2))}, "", 0},
		"held again behind a release":           {[]HoldCopy{at("east", held(3)), at("west", lifted(2))}, "east", 0},
		"both at once: the hold wins":           {[]HoldCopy{at("east", lifted(2)), at("west", held(2))}, "west", 0},
		"only one answers, and it holds":        {[]HoldCopy{gone, at("west", held(1))}, "west", 1},
		"nobody answers":                        {[]HoldCopy{gone}, "", 1},
		"not readable":                          {[]HoldCopy{{Site: "east", Scope: HoldPair, Reachable: true, Problem: "bad JSON"}, at("west", nil)}, "east", 0},
		"forged release, held elsewhere":        {[]HoldCopy{forged(at("east", lifted(9))), at("west", held(1))}, "west", 0},
		"forged release, nothing else":          {[]HoldCopy{forged(at("east", lifted(9))), at("west", nil)}, "", 0},
		"forged hold":                           {[]HoldCopy{forged(at("east", held(1))), at("west", nil)}, "east", 0},
		"forged hold, released since":           {[]HoldCopy{forged(at("east", held(1))), at("west", lifted(2))}, "", 0},
		"not readable, the other knows":         {[]HoldCopy{{Site: "east", Scope: HoldPair, Reachable: true, Problem: "bad JSON"}, at("west", lifted(1))}, "", 0},
	} {
		got, silent := ReadHold(c.copies)
		sites := ""
		if len(got) > 0 {
			sites = strings.Join(got[0].Sites, ",")
		}
		if sites != c.sites || len(got) > 1 || len(silent) != c.silent {
			t.Errorf("%s: %+v, silent %v", name, got, silent)
		}
		// Whatever stands there: one more put holds, one more release lifts.
		for _, hold := range []bool{true, false} {
			next := NextHold(c.copies, HoldPair, hold, "eve", "r", time.Unix(100, 0))
			if now, _ := ReadHold(append(c.copies, at("west", &next))); (len(now) > 0) != hold {
				t.Errorf("%s: after a put of held %t: %+v", name, hold, now)
			}
		}
	}
}

func TestAHoldSaysWhoWhenWhyAndHowToGoOn(t *testing.T) {
	h := Hold{Held: true, Seq: 1, By: "ann", Reason: "audit week", Since: time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)}
	got, _ := ReadHold([]HoldCopy{
		{Site: "east", Scope: HoldAll, Reachable: true, Hold: &h}, {Site: "east", Scope: HoldPair, Reachable: true, Hold: &h},
	})
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	for _, held := range got {
		text := held.Text("orders")
		if strings.Contains(text, "by the name of") {
			t.Errorf("a name that was proven: %q", text)
		}
		held.Unproven = "signature does not count"
		if doubt := held.Text("orders"); !strings.Contains(doubt, "somebody who goes by the name of ann (signature does not count)") {
			t.Errorf("%q", doubt)
		}
		for _, part := range []string{"ann", "audit week", "2026-11-22 03:00:00", "consul of east", "drctl release "} {
			if !strings.Contains(text, part) {
				t.Errorf("%q does not say %q", text, part)
			}
		}
	}
}

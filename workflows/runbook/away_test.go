package runbook

import (
	"reflect"
	"strings"
	"testing"
)

func TestWhatBecameOfATopicAndWhatMayBeDecided(t *testing.T) {
	for name, c := range map[string]struct {
		in      AwayTopic
		kind    string
		choices []string
	}{
		"nowhere":           {AwayTopic{}, AwayNowhere, nil},
		"follows":           {AwayTopic{Active: 1, Standby: 1, Follows: true, Ended: true}, AwayFollows, nil},
		"same":              {AwayTopic{Active: 1, Standby: 1, Ended: true, Same: true}, AwaySame, nil},
		"diverged":          {AwayTopic{Active: 1, Standby: 1, Ended: true}, AwayDiverged, nil},
		"grown at home":     {AwayTopic{Active: 1, Standby: 2, Ended: true}, AwayDiverged, nil},
		"copy gone":         {AwayTopic{Active: 1, Ended: true}, AwayMissing, nil},
		"created":           {AwayTopic{Active: 1}, AwayCreated, []string{"mirror", "leave"}},
		"remade, copy gone": {AwayTopic{Active: 1, Ended: true, Remade: true}, AwayCreated, []string{"mirror", "leave"}},
		"grown":             {AwayTopic{Active: 3, Standby: 1, Ended: true}, AwayGrown, []string{"mirror", "leave"}},
		"remade":            {AwayTopic{Active: 1, Standby: 1, Ended: true, Remade: true, Same: true}, AwayRemade, []string{"mirror", "leave"}},
		"unrelated":         {AwayTopic{Active: 1, Standby: 1}, AwayApart, []string{"mirror", "leave"}},
		"deleted":           {AwayTopic{Standby: 1, Ended: true}, AwayDeleted, []string{"leave", "delete"}},
		"only copy":         {AwayTopic{Standby: 1}, AwayOnlyCopy, nil},
	} {
		if got := c.in.Kind(); got != c.kind || !reflect.DeepEqual(c.in.Choices(), c.choices) {
			t.Errorf("%s: %s, choices %v", name, got, c.in.Choices())
		}
	}
}

// Whatever became of a topic and whatever is decided: it stands in exactly one
// list, nothing is deleted without a decision unless it was a mirror's copy that
// diverged, and an only copy is never deleted.
func TestEveryTopicHasOneFateAndNothingIsDeletedByDefault(t *testing.T) {
	n := 0
	for bits := range 1 << 7 {
		a := AwayTopic{
			Topic: "t", Active: bits & 1, Standby: bits >> 1 & 1, Follows: bits>>2&1 == 1, Ended: bits>>3&1 == 1,
			Remade: bits>>4&1 == 1, Same: bits>>5&1 == 1,
		}
		a.Active += a.Active * (bits >> 6 & 1)
		for _, chosen := range []map[string]string{nil, {"*": "mirror"}, {"*": "leave"}, {"*": "delete"}} {
			p, err := PlanAway([]AwayTopic{a}, chosen)
			if err != nil {
				t.Fatal(err)
			}
			n++
			lists := len(p.Follow) + len(p.Rejoin) + len(p.Create) + len(p.Rebuild) + len(p.Delete) + len(p.Leave) + len(p.Open)
			if nowhere := a.Kind() == AwayNowhere; lists != 1 && !nowhere || nowhere && lists != 0 {
				t.Errorf("%+v with %v stands in %d lists: %+v", a, chosen, lists, p)
			}
			if len(p.Doomed()) > 0 && (chosen == nil && a.Kind() != AwayDiverged || a.Kind() == AwayOnlyCopy || a.Standby == 0) {
				t.Errorf("%+v with %v is deleted", a, chosen)
			}
			if (len(p.Open) > 0) != (len(a.Choices()) > 0 && (chosen == nil || len(p.Open) > 0)) {
				t.Errorf("%+v with %v: open %v", a, chosen, p.Open)
			}
		}
	}
	t.Logf("%d fates", n)
}

func TestDecisionsThatFitNoTopicAreRefused(t *testing.T) {
	topics := []AwayTopic{{Topic: "new", Active: 1}, {Topic: "same", Active: 1, Standby: 1, Ended: true, Same: true}}
	for want, chosen := range map[string]map[string]string{
		"no topic typo":         {"typo": "mirror"},
		"nothing is to be":      {"same": "mirror"},
		`"delete" for new`:      {"new": "delete"},
		"none of mirror, leave": {"*": "append"},
	} {
		if _, err := PlanAway(topics, chosen); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", chosen, err, want)
		}
	}
}

func TestACopyIsForeseenAtTheRateThatWasMeasured(t *testing.T) {
	s := CopySize{Records: 10, Bytes: 9e6, Topics: 2, Lines: []CopyLine{{Topic: "a", Bytes: 6e6}, {Topic: "b", Bytes: -1}}}
	if text := s.Foresee().Text(); !strings.Contains(text, "how long is not known") || s.Foresee().Lines[0].Seconds != 0 {
		t.Errorf("%q", text)
	}
	s.BytesPerSecond, s.MeasuredBy = 3e6, "failback-1"
	if got := s.Foresee(); got.Lines[0].Seconds != 2 || got.Lines[1].Seconds != 0 || !strings.Contains(got.Text(), "about 3s at the 3.0 MB/s of failback-1") {
		t.Errorf("%+v %q", got.Lines, got.Text())
	}
}

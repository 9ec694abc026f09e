package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a container may have no time zone data of its own
)

// days of a week, in the order that a normalised plan names them.
var days = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

func freezes(list []Freeze) []Freeze {
	list = slices.Clone(list)
	for i := range list {
		f := &list[i]
		f.Days = slices.Clone(f.Days)
		for k, d := range f.Days {
			f.Days[k] = strings.ToLower(d)
		}
		slices.SortStableFunc(f.Days, func(a, b string) int { return cmp.Compare(slices.Index(days, a), slices.Index(days, b)) })
		if len(f.Days) > 0 && f.Zone == "" {
			f.Zone = "UTC"
		}
	}
	slices.SortStableFunc(list, func(a, b Freeze) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (c *checker) freezes(list []Freeze) {
	seen := map[string]bool{}
	for i, f := range list {
		key := fmt.Sprintf("freezes[%d]", i)
		if f.Name != "" {
			key = "freezes[" + f.Name + "]"
		}
		if f.Name == "" || seen[f.Name] {
			c.bad(key+".name", f.Name, "name each window once: whoever is refused reads its name")
		}
		seen[f.Name] = true
		if len(f.Days) == 0 {
			c.fixed(key, f)
		} else {
			c.weekly(key, f)
		}
	}
}

func (c *checker) fixed(key string, f Freeze) {
	if f.Zone != "" {
		c.bad(key+".zone", f.Zone, "goes with days: a fixed window has its offset in from and to")
	}
	const form = "write a date and time with an offset, as in 2026-12-18T18:00:00+01:00, or add days for a weekly window"
	from, err := time.Parse(time.RFC3339, f.From)
	if err != nil {
		c.bad(key+".from", f.From, form)
	}
	to, terr := time.Parse(time.RFC3339, f.To)
	if terr != nil {
		c.bad(key+".to", f.To, form)
	}
	if err == nil && terr == nil && !to.After(from) {
		c.bad(key+".to", f.To, "the window ends before it begins: write a time after %s", f.From)
	}
}

func (c *checker) weekly(key string, f Freeze) {
	for i, d := range f.Days {
		switch {
		case !slices.Contains(days, d):
			c.bad(key+".days", d, "use %s", strings.Join(days, ", "))
		case i > 0 && f.Days[i-1] == d:
			c.bad(key+".days", d, "named twice: remove one")
		}
	}
	for _, t := range [][2]string{{"from", f.From}, {"to", f.To}} {
		if _, err := time.Parse("15:04", t[1]); err != nil {
			c.bad(key+"."+t[0], t[1], `write hours and minutes in quotes, as in "22:00"; midnight is "00:00"`)
		}
	}
	if _, err := location(f.Zone); err != nil {
		c.bad(key+".zone", f.Zone, "no such time zone: write its name as in Europe/Berlin, or UTC")
	}
}

// Local would be another zone on each machine.
func location(zone string) (*time.Location, error) {
	if zone == "Local" {
		return nil, fmt.Errorf("zone Local is another one on each machine")
	}
	return time.LoadLocation(zone)
}

// Offset is how far a zone is ahead of UTC from an instant on.
type Offset struct {
	From    time.Time `json:"from"`
	Seconds int64     `json:"seconds"`
}

// Offsets lists those of a zone from some days before now to two years ahead, so
// that whoever has them needs no time zone data. None for zone "", which a fixed
// window has.
func Offsets(zone string, now time.Time) ([]Offset, error) {
	if zone == "" {
		return nil, nil
	}
	loc, err := location(zone)
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w", zone, err)
	}
	var out []Offset
	at, last := now.AddDate(0, 0, -8).UTC(), now.AddDate(2, 0, 0)
	for at.Before(last) {
		local := at.In(loc)
		_, ahead := local.Zone()
		out = append(out, Offset{From: at.Truncate(time.Second), Seconds: int64(ahead)})
		_, end := local.ZoneBounds()
		if end.IsZero() {
			break
		}
		at = end.UTC()
	}
	return out, nil
}

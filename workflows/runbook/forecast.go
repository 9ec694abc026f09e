package runbook

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Forecast is what a failover at this moment would cost.
type Forecast struct {
	Topics []TopicForecast `json:"topics"`
	Groups []GroupForecast `json:"groups"`
	// AtRisk is the sum over topics, estimated: Known up to the last contact, Blind
	// about since.
	AtRisk int64 `json:"records_at_risk"`
	Known  int64 `json:"known"`
	Blind  int64 `json:"blind"`
	// BlindSeconds since the engine last heard from the source.
	BlindSeconds float64 `json:"blind_seconds"`
	// Again and AtMost are sums over groups, see GroupForecast; GroupsSeenSeconds is
	// how long ago the engine last saw their commits.
	Again             int64   `json:"read_again_at_least"`
	AtMost            int64   `json:"read_again_at_most"`
	GroupsSeenSeconds float64 `json:"groups_seen_seconds_ago,omitempty"`
	// Unseen are groups of the plan of which the offset sync has seen no commit on any
	// mirror: what they read again is not known, and no part of the sums. Without a
	// commit at the new site a group begins where its auto.offset.reset says, at the
	// first record or behind the last one.
	Unseen []string `json:"groups_unseen,omitempty"`
	// Pipelines are groups that are placed earlier than their commits.
	Pipelines []PipelineForecast `json:"pipelines,omitempty"`
	// InTopics and InGroups count the rows before Top cut them; 0 where it did not.
	InTopics int `json:"in_topics,omitempty"`
	InGroups int `json:"in_groups,omitempty"`
	// Exercised is when the pair last went through a failover, a planned move or a
	// drill, by Exercise; absent: never, as far as the kept reports tell.
	Exercised    time.Time `json:"exercised,omitzero"`
	Exercise     string    `json:"exercise,omitempty"`
	ExerciseDays float64   `json:"exercise_days_ago,omitempty"`
}

// TopicForecast: at least Known records up to the last contact are missing,
// plus about Blind that were produced since, at the last seen rate.
type TopicForecast struct {
	Topic  string `json:"topic"`
	Known  int64  `json:"known"`
	Blind  int64  `json:"blind"`
	AtRisk int64  `json:"records_at_risk"`
	// Unseen counts partitions whose source end was never seen.
	Unseen     int     `json:"unseen,omitempty"`
	LagSeconds float64 `json:"lag_seconds"` // worst partition
	Redeliver  int64   `json:"redelivered"` // summed over groups, at most
}

// GroupForecast is how many records of a topic a group would read again:
// Redelivered at most, and Again at least, the records between where it goes on
// and what it had committed when that was last seen. Skipped it would not read at
// all.
type GroupForecast struct {
	Group       string `json:"group"`
	Topic       string `json:"topic"`
	Again       int64  `json:"read_again_at_least,omitempty"`
	Redelivered int64  `json:"redelivered"`
	Skipped     int64  `json:"skipped,omitempty"`
	Problem     string `json:"problem,omitempty"`
}

// PipelineForecast is how many records a pipeline's group reads again, so that
// none is lost of what it made of them.
type PipelineForecast struct {
	Group   string `json:"group"`
	Repeats int64  `json:"repeats"`
}

// Foresee turns what the engine knows into a forecast.
//
// Records at risk: the lag to the source's end as last seen, plus blind time
// times the last rate. What groups read again: GroupRisk.sum.
func Foresee(r Risk) Forecast {
	f := Forecast{Topics: []TopicForecast{}, Groups: []GroupForecast{}}
	if !r.LastContact.IsZero() && r.Now.After(r.LastContact) && !r.SourceReachable {
		f.BlindSeconds = r.Now.Sub(r.LastContact).Seconds()
	}
	if !r.GroupsSyncedAt.IsZero() && len(r.Groups) > 0 {
		f.GroupsSeenSeconds = max(0, r.Now.Sub(r.GroupsSyncedAt).Seconds())
	}
	at, rates := map[string]int{}, []float64{}
	for _, p := range r.Partitions {
		i, ok := at[p.Topic]
		if !ok {
			i = len(f.Topics)
			at[p.Topic] = i
			f.Topics, rates = append(f.Topics, TopicForecast{Topic: p.Topic}), append(rates, 0)
		}
		t := &f.Topics[i]
		if p.SourceSeen {
			t.Known += max(0, p.LagRecords)
			t.Unseen += p.Unseen
		} else {
			t.Unseen++
		}
		rates[i] += max(0, p.RecordsPerSecond)
		t.LagSeconds = max(t.LagSeconds, p.LagSeconds)
	}
	for i := range f.Topics {
		t := &f.Topics[i]
		t.Blind = int64(math.Ceil(rates[i] * f.BlindSeconds))
		t.AtRisk = t.Known + t.Blind
		f.Known += t.Known
		f.Blind += t.Blind
	}
	f.AtRisk = f.Known + f.Blind
	rows := map[[2]string]int{}
	for _, g := range r.Groups {
		f.addGroup(g, at, rows)
	}
	return f
}

func (f *Forecast) addGroup(g GroupRisk, at map[string]int, rows map[[2]string]int) {
	s := g.sum()
	if i, ok := at[g.Topic]; ok {
		f.Topics[i].Redeliver += s.AtMost
	}
	i, ok := rows[[2]string{g.Group, g.Topic}]
	if !ok {
		i = len(f.Groups)
		rows[[2]string{g.Group, g.Topic}] = i
		f.Groups = append(f.Groups, GroupForecast{Group: g.Group, Topic: g.Topic})
	}
	row := &f.Groups[i]
	row.Again += s.Again
	row.Redelivered += s.AtMost
	row.Skipped += s.Skipped
	if row.Problem == "" {
		row.Problem = g.Problem
	}
	f.Again += s.Again
	f.AtMost += s.AtMost
}

// Remember adds when the pair was last exercised.
func (f *Forecast) Remember(p PastRuns, now time.Time) {
	if p.Exercised.IsZero() {
		return
	}
	f.Exercised, f.Exercise = p.Exercised, p.Operation
	f.ExerciseDays = math.Round(now.Sub(p.Exercised).Hours()/24*10) / 10
}

// Top is the forecast with the n topics that lose most and the n groups' rows
// that repeat most; the sums stay those of all. It is for eyes and for answers
// that must be small; the report has all rows.
func (f Forecast) Top(n int) Forecast {
	if len(f.Topics) > n {
		f.InTopics, f.Topics = len(f.Topics), slices.Clone(f.Topics)
		slices.SortStableFunc(f.Topics, func(a, b TopicForecast) int {
			return cmp.Or(cmp.Compare(b.AtRisk, a.AtRisk), cmp.Compare(b.Redeliver, a.Redeliver))
		})
		f.Topics = f.Topics[:n:n]
	}
	if len(f.Groups) > n {
		f.InGroups, f.Groups = len(f.Groups), slices.Clone(f.Groups)
		slices.SortStableFunc(f.Groups, func(a, b GroupForecast) int {
			return cmp.Or(cmp.Compare(b.Again+b.Skipped, a.Again+a.Skipped), cmp.Compare(b.Redelivered, a.Redelivered))
		})
		f.Groups = f.Groups[:n:n]
	}
	return f
}

// inText is how many rows of a kind a text names.
const inText = 5

// Text is what approvers read; its length does not grow with the topics.
func (f Forecast) Text() string {
	top := f.Top(inText)
	text := fmt.Sprintf("about %d records at risk in %d topics: at least %d up to the last contact, and about %d in %.1f s since", f.AtRisk, max(f.InTopics, len(f.Topics)), f.Known, f.Blind, f.BlindSeconds)
	var rows []string
	for _, t := range top.Topics {
		if t.AtRisk > 0 {
			rows = append(rows, fmt.Sprintf("%s %d+%d", t.Topic, t.Known, t.Blind))
		}
	}
	text += list(rows, max(top.InTopics, f.InTopics)-len(rows), "topics")
	text += "; " + f.AgainText()
	rows = nil
	for _, g := range top.Groups {
		if g.Redelivered > 0 || g.Skipped > 0 {
			row := fmt.Sprintf("%s on %s %d to %d", g.Group, g.Topic, g.Again, g.Redelivered)
			if g.Skipped > 0 {
				row += fmt.Sprintf(", skipping %d", g.Skipped)
			}
			rows = append(rows, row)
		}
	}
	text += list(rows, max(top.InGroups, f.InGroups)-len(rows), "rows")
	if f.GroupsSeenSeconds > 0 {
		text += fmt.Sprintf(", commits seen %.1f s ago", f.GroupsSeenSeconds)
	}
	for _, p := range f.Pipelines {
		text += fmt.Sprintf("; pipeline %s reads %d again", p.Group, p.Repeats)
	}
	return text + "; " + f.exerciseText()
}

// AgainText says what groups read again, and of whom that is not known.
func (f Forecast) AgainText() string {
	text := fmt.Sprintf("groups read again at least %d and at most %d records", f.Again, f.AtMost)
	if len(f.Unseen) == 0 {
		return text
	}
	names := strings.Join(f.Unseen[:min(inText, len(f.Unseen))], ", ")
	if more := len(f.Unseen) - inText; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	why := fmt.Sprintf("is not known: the offset sync has seen no commit of theirs, so they begin where their auto.offset.reset says (%s)", names)
	if len(f.Groups) == 0 {
		return "what groups read again " + why
	}
	return text + fmt.Sprintf(", and what %d others read again ", len(f.Unseen)) + why
}

// Unseen are those of the named groups that the risk has no commit of, on no mirror.
func (r Risk) Unseen(groups []string) []string {
	var out []string
	for _, name := range groups {
		if !slices.ContainsFunc(r.Groups, func(g GroupRisk) bool { return g.Group == name }) {
			out = append(out, name)
		}
	}
	return out
}

func (f Forecast) exerciseText() string {
	if f.Exercised.IsZero() {
		return "the pair has no kept report of a failover, move or drill"
	}
	return fmt.Sprintf("last exercised %.1f days ago by a %s", f.ExerciseDays, f.Exercise)
}

// list names rows in brackets, and how many there are beside.
func list(rows []string, more int, what string) string {
	if len(rows) == 0 {
		return ""
	}
	text := " (" + strings.Join(rows, ", ")
	if more > 0 {
		text += fmt.Sprintf(", and %d %s more", more, what)
	}
	return text + ")"
}

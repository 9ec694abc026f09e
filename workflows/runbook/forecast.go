package runbook

import (
	"math"
	"slices"
)

// Forecast is what a failover at this moment would cost.
type Forecast struct {
	Topics []TopicForecast `json:"topics"`
	Groups []GroupForecast `json:"groups"`
	// AtRisk is the sum over topics, estimated.
	AtRisk int64 `json:"records_at_risk"`
	// BlindSeconds since the engine last heard from the source.
	BlindSeconds float64 `json:"blind_seconds"`
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

// GroupForecast is how many records of a topic a group would read again, at
// most.
type GroupForecast struct {
	Group       string `json:"group"`
	Topic       string `json:"topic"`
	Redelivered int64  `json:"redelivered"`
	Problem     string `json:"problem,omitempty"`
}

// Foresee turns what the engine knows into a forecast.
//
// Records at risk: the lag to the source's end as last seen, plus blind time
// times the last rate. Redelivery: a group goes on at the translation of its
// last seen commit, clamped to the mirror, or where it stands if that is not
// the engine's; it may have read everything up to the mirror's end already, so
// the distance to it is the most that it reads twice.
func Foresee(r Risk) Forecast {
	f := Forecast{Topics: []TopicForecast{}, Groups: []GroupForecast{}}
	if !r.LastContact.IsZero() && r.Now.After(r.LastContact) && !r.SourceReachable {
		f.BlindSeconds = r.Now.Sub(r.LastContact).Seconds()
	}
	at := map[string]int{}
	for _, p := range r.Partitions {
		i, ok := at[p.Topic]
		if !ok {
			i = len(f.Topics)
			at[p.Topic] = i
			f.Topics = append(f.Topics, TopicForecast{Topic: p.Topic})
		}
		t := &f.Topics[i]
		if p.SourceSeen {
			t.Known += max(0, p.LagRecords)
		} else {
			t.Unseen++
		}
		t.Blind += int64(math.Ceil(max(0, p.RecordsPerSecond) * f.BlindSeconds))
		t.LagSeconds = max(t.LagSeconds, p.LagSeconds)
		t.AtRisk = t.Known + t.Blind
	}
	for _, t := range f.Topics {
		f.AtRisk += t.AtRisk
	}
	for _, g := range r.Groups {
		f.addGroup(g, at)
	}
	return f
}

func (f *Forecast) addGroup(g GroupRisk, at map[string]int) {
	resume := g.Wanted
	if !g.Owned {
		resume = g.Dest
	}
	again := max(0, g.DestEnd-max(0, resume))
	if i, ok := at[g.Topic]; ok {
		f.Topics[i].Redeliver += again
	}
	i := slices.IndexFunc(f.Groups, func(o GroupForecast) bool { return o.Group == g.Group && o.Topic == g.Topic })
	if i < 0 {
		i = len(f.Groups)
		f.Groups = append(f.Groups, GroupForecast{Group: g.Group, Topic: g.Topic})
	}
	f.Groups[i].Redelivered += again
	if g.Problem != "" && f.Groups[i].Problem == "" {
		f.Groups[i].Problem = g.Problem
	}
}

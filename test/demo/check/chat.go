package check

import "slices"

// Chat is what a failover that was driven through Slack left there and at the pager.
type Chat struct {
	// Asked are the people who approved in Slack.
	Asked []string `json:"-"`
	// Threads of the run, Edits of its first message, Replies in it.
	Threads int `json:"threads"`
	Edits   int `json:"edits"`
	Replies int `json:"replies"`
	// Ended: the thread says how it ended.
	Ended bool `json:"ended"`
	// Pages are the states that the failover's incident went through.
	Pages []string `json:"pages"`
	// Teams of clients that had a part in it.
	Teams []Team `json:"teams"`
	// Refused is what Slack or the pager would have refused.
	Refused []string `json:"refused"`
}

// Team is how a team of clients fared in a failover.
type Team struct {
	Team string `json:"team"`
	// Slack and PagerDuty say what came of telling it, in the run's report.
	Slack     string `json:"slack"`
	PagerDuty string `json:"pagerduty"`
	// AcknowledgedBy is one of its people, in the report.
	AcknowledgedBy string `json:"acknowledged_by"`
	// Moved of its Groups, on Kafka's evidence.
	Moved  int `json:"moved"`
	Groups int `json:"groups"`
	// Messages that its channel in Slack has of the failover, Pages the states that its incident went through.
	Messages int      `json:"messages"`
	Pages    []string `json:"pages"`
}

// paged is what becomes of an incident that somebody looks after.
var paged = []string{"triggered", "acknowledged", "resolved"}

func (r *Report) chat(e Evidence) {
	c := e.Chat
	if c == nil {
		return
	}
	for _, who := range c.Asked {
		r.fault(!slices.Contains(e.ApprovedBy, who), "%s approved in Slack, and the report does not say so: approved by %v", who, e.ApprovedBy)
	}
	r.fault(len(c.Asked) < 2, "only %v were asked in Slack", c.Asked)
	r.fault(len(e.AcknowledgedBy) == 0, "nobody acknowledged the page, says the report")
	r.fault(c.Threads != 1, "the failover has %d threads", c.Threads)
	r.fault(c.Edits == 0, "the thread's first message never changed")
	r.fault(!c.Ended, "the thread does not say how the failover ended")
	r.fault(!slices.Equal(c.Pages, paged), "the page went through %v", c.Pages)
	r.fault(len(c.Teams) == 0, "no team of clients had a part in it")
	for _, t := range c.Teams {
		who := t.AcknowledgedBy + " for team " + t.Team
		r.fault(t.Slack != "sent" || t.PagerDuty != "sent", "team %s was told: Slack %s, PagerDuty %s", t.Team, t.Slack, t.PagerDuty)
		r.fault(t.Messages == 0, "the channel of team %s has no message", t.Team)
		r.fault(!slices.Contains(e.AcknowledgedBy, who), "%q is not among those who acknowledged: %q", who, e.AcknowledgedBy)
		r.fault(t.Groups == 0 || t.Moved != t.Groups, "%d of %d groups of team %s have moved", t.Moved, t.Groups, t.Team)
		r.fault(!slices.Equal(t.Pages, paged), "the page of team %s went through %v", t.Team, t.Pages)
	}
	for _, f := range c.Refused {
		r.fault(true, "refused: %s", f)
	}
}

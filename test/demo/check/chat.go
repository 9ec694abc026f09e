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
	// Refused is what Slack or the pager would have refused.
	Refused []string `json:"refused"`
}

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
	r.fault(!slices.Equal(c.Pages, []string{"triggered", "acknowledged", "resolved"}), "the page went through %v", c.Pages)
	for _, f := range c.Refused {
		r.fault(true, "refused: %s", f)
	}
}

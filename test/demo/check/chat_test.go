package check

import (
	"strings"
	"testing"
)

func TestAFailoverInSlackLeavesItsTraces(t *testing.T) {
	inSlack := func() Evidence {
		e := story()
		e.ApprovedBy, e.AcknowledgedBy = []string{"bob", "eve"}, []string{"eve", "dana for team web"}
		e.Chat = &Chat{
			Asked: []string{"bob", "eve"}, Threads: 1, Edits: 4, Replies: 6, Ended: true, Pages: []string{"triggered", "acknowledged", "resolved"},
			Teams: []Team{{Team: "web", Slack: "sent", PagerDuty: "sent", AcknowledgedBy: "dana", Moved: 1, Groups: 1, Messages: 3, Pages: []string{"triggered", "acknowledged", "resolved"}}},
		}
		return e
	}
	if r := Judge(inSlack()); !r.OK || len(r.ApprovedBy) != 2 || r.Chat == nil {
		t.Fatalf("%v", r.Faults)
	}
	for want, spoil := range map[string]func(*Evidence){
		"eve approved in Slack, and the report does not say so": func(e *Evidence) { e.ApprovedBy = []string{"bob"} },
		"only [bob] were asked":                                 func(e *Evidence) { e.Chat.Asked = []string{"bob"} },
		"nobody acknowledged":                                   func(e *Evidence) { e.AcknowledgedBy = nil },
		"has 2 threads":                                         func(e *Evidence) { e.Chat.Threads = 2 },
		"never changed":                                         func(e *Evidence) { e.Chat.Edits = 0 },
		"does not say how":                                      func(e *Evidence) { e.Chat.Ended = false },
		"went through [triggered":                               func(e *Evidence) { e.Chat.Pages = []string{"triggered", "resolved"} },
		"no team of clients":                                    func(e *Evidence) { e.Chat.Teams = nil },
		"was told: Slack no such channel":                       func(e *Evidence) { e.Chat.Teams[0].Slack = "no such channel" },
		"the channel of team web has no message":                func(e *Evidence) { e.Chat.Teams[0].Messages = 0 },
		`"dana for team web" is not among those who`:            func(e *Evidence) { e.AcknowledgedBy = []string{"eve", "dana"} },
		"0 of 1 groups of team web":                             func(e *Evidence) { e.Chat.Teams[0].Moved = 0 },
		"the page of team web went":                             func(e *Evidence) { e.Chat.Teams[0].Pages = nil },
		"refused: too long":                                     func(e *Evidence) { e.Chat.Refused = []string{"too long"} },
	} {
		e := inSlack()
		spoil(&e)
		if r := Judge(e); r.OK || !strings.Contains(strings.Join(r.Faults, "\n"), want) {
			t.Errorf("%q: ok %t, %v", want, r.OK, r.Faults)
		}
	}
}

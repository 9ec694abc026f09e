package check

import (
	"strings"
	"testing"
)

func TestAFailoverInSlackLeavesItsTraces(t *testing.T) {
	inSlack := func() Evidence {
		e := story()
		e.ApprovedBy, e.AcknowledgedBy = []string{"bob", "eve"}, []string{"eve"}
		e.Chat = &Chat{Asked: []string{"bob", "eve"}, Threads: 1, Edits: 4, Replies: 6, Ended: true, Pages: []string{"triggered", "acknowledged", "resolved"}}
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
		"refused: too long":                                     func(e *Evidence) { e.Chat.Refused = []string{"too long"} },
	} {
		e := inSlack()
		spoil(&e)
		if r := Judge(e); r.OK || !strings.Contains(strings.Join(r.Faults, "\n"), want) {
			t.Errorf("%q: ok %t, %v", want, r.OK, r.Faults)
		}
	}
}

package runbook

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestATeamsChannelsAreItsOwnWithWhatTheyNeedOfThePairs(t *testing.T) {
	p := Plan{Notify: Notify{
		Slack:     &Slack{Token: "${env:SLACK}", Channel: "#dr"},
		PagerDuty: &PagerDuty{RoutingKey: "${env:PAIR}", EscalationRoutingKey: "${env:ALL}"},
		Webhook:   &Webhook{URL: "https://pair"}, SMTP: &SMTP{Server: "smtp:587", To: []string{"pair@example.org"}},
	}}
	for name, c := range map[string]struct {
		team Team
		want string
	}{
		"slack where the pair is":   {Team{Slack: &TeamSlack{}}, "slack #dr ${env:SLACK}, pages  then ${env:ALL}"},
		"slack elsewhere":           {Team{Slack: &TeamSlack{Channel: "#web"}}, "slack #web ${env:SLACK}, pages  then ${env:ALL}"},
		"a service":                 {Team{PagerDuty: &PagerDuty{RoutingKey: "${env:WEB}"}}, "pages ${env:WEB} then ${env:ALL}"},
		"a service with escalation": {Team{PagerDuty: &PagerDuty{RoutingKey: "${env:WEB}", EscalationRoutingKey: "${env:BOSS}"}}, "pages ${env:WEB} then ${env:BOSS}"},
		"mail":                      {Team{Email: []string{"web@example.org"}}, "pages  then ${env:ALL}, mail web@example.org"},
		"a webhook":                 {Team{Webhook: &Webhook{URL: "https://web"}}, "pages  then ${env:ALL}, hook https://web"},
	} {
		t.Run(name, func(t *testing.T) {
			n := p.Channels(c.team)
			var got []string
			if n.Slack != nil {
				got = append(got, "slack "+n.Slack.Channel+" "+n.Slack.Token)
			}
			got = append(got, "pages "+n.PagerDuty.RoutingKey+" then "+n.PagerDuty.EscalationRoutingKey)
			if n.SMTP != nil {
				got = append(got, "mail "+strings.Join(n.SMTP.To, ","))
			}
			if n.Webhook != nil {
				got = append(got, "hook "+n.Webhook.URL)
			}
			if text := strings.Join(got, ", "); text != c.want {
				t.Errorf("%s, want %s", text, c.want)
			}
		})
	}
	if p.Notify.Slack.Channel != "#dr" || p.Notify.SMTP.To[0] != "pair@example.org" {
		t.Errorf("the pair's own channels are changed: %+v", p.Notify)
	}
	if !(Notify{SMTP: &SMTP{}}).Silent() || (Notify{SMTP: &SMTP{To: []string{"a"}}}).Silent() || (Notify{PagerDuty: &PagerDuty{}}).Silent() || !(Notify{PagerDuty: &PagerDuty{}}).PagesOnly() {
		t.Error("a server without addresses tells nobody, a pager only pages")
	}
}

func TestATeamIsToldWhatItHasToDo(t *testing.T) {
	p := Plan{Pair: "orders"}
	for i := range 25 {
		p.Groups = append(p.Groups, Group{Name: fmt.Sprintf("g%02d", i), Move: MoveWatch})
	}
	p.Groups = append(p.Groups, Group{Name: "hand", Move: MovePage}, Group{Name: "dns", Move: MoveRebootstrap}, Group{Name: "others", Move: MovePage})
	team := Team{Name: "web", Groups: slices.DeleteFunc(p.GroupNames(), func(g string) bool { return g == "others" })}
	to := Site{Name: "west", Kafka: Kafka{Bootstrap: []string{"w1:9092", "w2:9092"}}}
	title, text := TeamMessage(p, WaysOf(p.Groups), team, to, OpFailover, "", 7, false)
	if title != "team web: 27 groups move to west (failover of orders)" {
		t.Errorf("title %q", title)
	}
	for _, says := range []string{
		"active at west since epoch 7", "moved by you: hand; stop their members on the old site, start them with the bootstrap servers w1:9092,w2:9092",
		"moved DNS name: dns;", "by themselves: g00, ", "g19 and 5 more;", "records may come again", "drctl acknowledge orders --team web",
	} {
		if !strings.Contains(text, says) {
			t.Errorf("nothing says %q:\n%s", says, text)
		}
	}
	if strings.Contains(text, "others") {
		t.Errorf("another team's group:\n%s", text)
	}
	title, text = TeamMessage(p, WaysOf(p.Groups), Team{Name: "web", Groups: []string{"dns"}}, to, OpSwitchover, "full", 8, false)
	if !strings.Contains(title, "full drill, switchover") || strings.Contains(text, "by you") || strings.Contains(text, "come again") {
		t.Errorf("a drill's planned move: %q\n%s", title, text)
	}
	_, text = TeamMessage(p, WaysOf(p.Groups), team, to, OpFailover, "", 7, true)
	team.PagerDuty = &PagerDuty{RoutingKey: "${env:WEB}"}
	_, told := TeamMessage(p, WaysOf(p.Groups), team, to, OpFailover, "", 7, false)
	if !strings.Contains(told, "an acknowledgement in PagerDuty alone is not seen here") || strings.Contains(text, "PagerDuty") {
		t.Errorf("with a pager:\n%s\nwithout:\n%s", told, text)
	}
	_, paged := TeamMessage(p, WaysOf(p.Groups), team, to, OpFailover, "", 7, true)
	if !strings.HasSuffix(text, "the run ends now, and nobody can acknowledge it here any more") || !strings.HasSuffix(paged, "resolves it in PagerDuty") || strings.Contains(text+paged, "drctl acknowledge") {
		t.Errorf("at the end of the run:\n%s\n%s", text, paged)
	}
}

func TestATeamThatHasMovedOrIsLookedAfterIsNotEscalated(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		line TeamLine
		want bool
	}{
		{TeamLine{Groups: []string{"a"}}, false}, // its turn never came
		{TeamLine{Groups: []string{"a"}, Since: now}, true},
		{TeamLine{Groups: []string{"a"}, Since: now, AcknowledgedBy: "ann"}, false},
		{TeamLine{Groups: []string{"a"}, Since: now, EscalatedAt: now}, false},
	} {
		if got := c.line.Escalates(); got != c.want {
			t.Errorf("%+v escalates: %t", c.line, got)
		}
		c.line.Count(map[string]bool{"b": true})
		if got := c.line.Escalates(); got != c.want || c.line.AllMoved() || c.line.Row()[4] != "0 of 1, not a" {
			t.Errorf("%+v escalates: %t", c.line, got)
		}
		c.line.Count(map[string]bool{"a": true})
		if c.line.Escalates() || !c.line.AllMoved() || c.line.Row()[4] != "1 of 1" {
			t.Errorf("%+v has moved", c.line)
		}
	}
}

// However long names are, a team's message is one that Slack shows whole.
func TestATeamsMessageIsShownWhole(t *testing.T) {
	p, team := Plan{Pair: "orders"}, Team{Name: strings.Repeat("t", 100), PagerDuty: &PagerDuty{RoutingKey: "${env:A}"}}
	for i, move := range []string{MovePage, MoveRebootstrap, MoveWatch} {
		for j := range 50 {
			name := fmt.Sprintf("%s-%d-%d", strings.Repeat("g", 240), i, j)
			p.Groups, team.Groups = append(p.Groups, Group{Name: name, Move: move}), append(team.Groups, name)
		}
	}
	title, text := TeamMessage(p, WaysOf(p.Groups), team, Site{Name: "west", Kafka: Kafka{Bootstrap: []string{"w1:9092"}}}, OpFailover, "full", 7, false)
	if n := len(title) + len(text); n > 3800 || !strings.Contains(text, "drctl acknowledge") || strings.Count(text, " and 47 more") != 3 {
		t.Errorf("%d characters:\n%s\n%s", n, title, text)
	}
	var lines []CrowdLine
	for i := range 30 {
		lines = append(lines, CrowdLineOf(i, team, WaysOf(p.Groups)))
	}
	crowds, left := Crowds("orders", slices.Concat(lines, lines, lines))
	named := len(left)
	for i, c := range crowds {
		if named += len(c.Teams); len(c.Text) > mostCrowd+100 {
			t.Errorf("message %d has %d characters", i, len(c.Text))
		}
	}
	if len(crowds) != mostCrowds || named != 90 || !strings.HasSuffix(crowds[mostCrowds-1].Text, fmt.Sprintf("… and %d teams more: drctl status orders", len(left))) {
		t.Errorf("%d messages, %d teams, %d left", len(crowds), named, len(left))
	}
}

func TestThousandsOfClientsAreCondensedToThoseThatHaveNotMoved(t *testing.T) {
	var all []ClientMove
	var wave []Group
	for i := range 100 {
		name := fmt.Sprintf("g%02d", i)
		all, wave = append(all, ClientMove{Group: name, Moved: i >= 10}), append(wave, Group{Name: name})
	}
	if m := CondenseMoves(all, 100); len(m.Rows) != 100 || m.Moved+len(m.Left) > 0 {
		t.Errorf("%+v", m)
	}
	m := CondenseMoves(all, 4)
	if len(m.Rows) != 4 || len(m.Left) != 6 || m.Moved != 90 {
		t.Errorf("%+v", m)
	}
	moved := map[string]bool{"g05": true, "of another wave": true}
	m.Note(moved, wave)
	for i := range 100 {
		if name := fmt.Sprintf("g%02d", i); moved[name] != (i >= 10) {
			t.Errorf("%s moved: %t", name, moved[name])
		}
	}
	if !moved["of another wave"] || HaltClients(m, 9).OK || !HaltClients(m, 10).OK {
		t.Errorf("%+v, %+v", moved, HaltClients(m, 10))
	}
}

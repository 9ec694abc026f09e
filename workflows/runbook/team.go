package runbook

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Team has groups that move with the pair; see plan.Team.
type Team struct {
	Name            string     `json:"name"`
	Groups          []string   `json:"groups"`
	People          []string   `json:"people,omitempty"`
	EscalateSeconds int64      `json:"escalate_seconds"` // negative: never
	Slack           *TeamSlack `json:"slack,omitempty"`
	PagerDuty       *PagerDuty `json:"pagerduty,omitempty"`
	Webhook         *Webhook   `json:"webhook,omitempty"`
	Email           []string   `json:"email,omitempty"`
}

// TeamSlack is where and whom a team's messages reach in Slack.
type TeamSlack struct {
	Channel string   `json:"channel,omitempty"`
	Mention []string `json:"mention,omitempty"`
}

// Webhook takes signed notifications. URL may be a reference, Secret is one.
type Webhook struct {
	URL    string `json:"url"`
	Secret string `json:"secret"`
}

// SMTP takes mail; Password is a reference.
type SMTP struct {
	Server   string   `json:"server"`
	TLS      string   `json:"tls"` // starttls, tls or none
	CAFile   string   `json:"ca_file,omitempty"`
	Username string   `json:"username,omitempty"`
	Password string   `json:"password,omitempty"`
	From     string   `json:"from"`
	To       []string `json:"to,omitempty"`
}

// Silent: there is no channel at all.
func (n Notify) Silent() bool {
	return n.PagerDuty == nil && n.PagesOnly()
}

// PagesOnly: nobody is told of anything but by a page.
func (n Notify) PagesOnly() bool {
	return n.Slack == nil && n.Webhook == nil && (n.SMTP == nil || len(n.SMTP.To) == 0)
}

// Channels are a team's, with what they need of the pair's.
func (p Plan) Channels(t Team) Notify {
	out := Notify{Webhook: t.Webhook}
	if t.Slack != nil && p.Notify.Slack != nil {
		s := *p.Notify.Slack
		s.Channel = cmp.Or(t.Slack.Channel, s.Channel)
		out.Slack = &s
	}
	if p.Notify.SMTP != nil && len(t.Email) > 0 {
		s := *p.Notify.SMTP
		s.To = t.Email
		out.SMTP = &s
	}
	var page PagerDuty
	if p.Notify.PagerDuty != nil {
		page.EscalationRoutingKey = p.Notify.PagerDuty.EscalationRoutingKey
	}
	if own := t.PagerDuty; own != nil {
		page = PagerDuty{RoutingKey: own.RoutingKey, EscalationRoutingKey: cmp.Or(own.EscalationRoutingKey, page.EscalationRoutingKey)}
	}
	if page != (PagerDuty{}) {
		out.PagerDuty = &page
	}
	return out
}

// TeamLine is how a team stands in a run that moves its clients.
type TeamLine struct {
	Team   string   `json:"team"`
	Groups []string `json:"groups"`
	// Since when it is called; zero: not yet. Told is what came of it.
	Since time.Time `json:"since,omitzero"`
	Told  []Told    `json:"told,omitempty"`
	// AcknowledgedBy one of its people, Via the bot if one signed for them.
	AcknowledgedBy string    `json:"acknowledged_by,omitempty"`
	Via            string    `json:"via,omitempty"`
	AcknowledgedAt time.Time `json:"acknowledged_at,omitzero"`
	// EscalatedAt is when it was told again, since nobody had acknowledged.
	EscalatedAt time.Time `json:"escalated_at,omitzero"`
	// Moved groups, on Kafka's evidence; nil: not looked at yet. Left have not, the first
	// few of them: the report's clients have all.
	Moved *int     `json:"moved,omitempty"`
	Left  []string `json:"left,omitempty"`
}

// TeamsTurn are a team's groups in a wave.
func TeamsTurn(t Team, wave Ways) []string {
	return slices.DeleteFunc(slices.Clone(t.Groups), func(name string) bool { return wave[name] == "" })
}

// TeamLines are those of a run that begins to move clients, in the plan's order.
func TeamLines(p Plan) []TeamLine {
	var out []TeamLine
	for _, t := range p.Teams {
		out = append(out, TeamLine{Team: t.Name, Groups: t.Groups})
	}
	return out
}

// Count takes over what Kafka shows of the team's groups: those that have moved.
func (l *TeamLine) Count(seen map[string]bool) {
	moved := 0
	l.Left = nil
	for _, g := range l.Groups {
		if seen[g] {
			moved++
		} else if len(l.Left) < leftShown {
			l.Left = append(l.Left, g)
		}
	}
	l.Moved = &moved
}

// leftShown of a team's groups that have not moved are named in its line.
const leftShown = 5

// AllMoved: nothing is left for the team to do.
func (l TeamLine) AllMoved() bool { return l.Moved != nil && *l.Moved == len(l.Groups) }

// Escalates: it was called, nobody looks after clients that have not moved, and nobody
// else was told of it.
func (l TeamLine) Escalates() bool {
	return !l.Since.IsZero() && l.AcknowledgedBy == "" && l.EscalatedAt.IsZero() && !l.AllMoved()
}

// MayAcknowledge judges whether a person may acknowledge for a team. Lines are the
// run's, none before it moves clients.
func MayAcknowledge(p Plan, lines []TeamLine, team string, who Person) *Refusal {
	no := func(format string, args ...any) *Refusal {
		return &Refusal{RefuseNotAllowed, fmt.Sprintf(format, args...)}
	}
	i := slices.IndexFunc(p.Teams, func(t Team) bool { return t.Name == team })
	if i < 0 {
		return no("the plan has no team %q", team)
	}
	t := p.Teams[i]
	if len(t.People) > 0 && !slices.ContainsFunc(t.People, func(by string) bool { return by == who.Name || slices.Contains(who.Roles, by) }) {
		return no("%s does not speak for team %s: its people are %s", who.Name, team, strings.Join(t.People, ", "))
	}
	at := slices.IndexFunc(lines, func(l TeamLine) bool { return l.Team == team })
	switch {
	case at < 0, lines[at].Since.IsZero():
		return no("team %s was not told of anything in this run yet: it is when its clients are to move", team)
	case lines[at].AcknowledgedBy != "":
		return no("%s has acknowledged for team %s already, at %s: once is enough", lines[at].AcknowledgedBy, team, stamp(lines[at].AcknowledgedAt))
	}
	return nil
}

// groupsShown of a list are named in a message, and no more than fit into so many
// characters: a name may have 249, and Slack shows 4,000 of a message.
const (
	groupsShown = 20
	groupsLong  = 900
)

func groupList(names []string) string {
	n, length := 0, 0
	for n < min(len(names), groupsShown) && (n == 0 || length+len(names[n]) <= groupsLong) {
		length += len(names[n]) + 2
		n++
	}
	if n == len(names) {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:n], ", "), len(names)-n)
}

// TeamMessage is what a team is told when its clients move to a site; over: by a run
// that takes no acknowledgement any more.
func TeamMessage(p Plan, ways Ways, t Team, to Site, operation, drill string, epoch int64, over bool) (title, text string) {
	title = fmt.Sprintf("team %s: %d groups move to %s (%s of %s)", t.Name, len(t.Groups), to.Name, why(operation, drill), p.Pair)
	byHand, byName, byThemselves := ways.split(t)
	lines := []string{fmt.Sprintf("pair %s is active at %s since epoch %d", p.Pair, to.Name, epoch)}
	if len(byHand) > 0 {
		lines = append(lines, fmt.Sprintf("to be moved by you: %s; stop their members on the old site, start them with the bootstrap servers %s", groupList(byHand), strings.Join(to.Kafka.Bootstrap, ",")))
	}
	if len(byName) > 0 {
		lines = append(lines, fmt.Sprintf("by the moved DNS name: %s; restart what does not follow", groupList(byName)))
	}
	if len(byThemselves) > 0 {
		lines = append(lines, fmt.Sprintf("by themselves: %s; see that they work", groupList(byThemselves)))
	}
	if operation == OpFailover {
		lines = append(lines, "after a failover records may come again, and the last ones may be missing")
	}
	switch {
	case !over:
		said := fmt.Sprintf("whoever looks after it: drctl acknowledge %s --team %s", p.Pair, t.Name)
		if p.Channels(t).PagerDuty != nil {
			said += "; an acknowledgement in PagerDuty alone is not seen here"
		}
		lines = append(lines, said)
	case p.Channels(t).PagerDuty != nil:
		lines = append(lines, "the run ends now, and nobody can acknowledge it here any more: whoever looks after it resolves it in PagerDuty")
	default:
		lines = append(lines, "the run ends now, and nobody can acknowledge it here any more")
	}
	return title, strings.Join(lines, "\n")
}

// Row says a line for people: team, groups, told, acknowledged, moved.
func (l TeamLine) Row() []string {
	told := "not yet"
	if n := len(l.Told); n > 0 {
		told = l.Told[n-1].channels(false)
		if n > 1 {
			told = fmt.Sprintf("%d times, the last: %s", n, told)
		}
		told += " at " + stamp(l.Told[n-1].At)
	}
	acked := "by nobody here" // PagerDuty's own acknowledgements are not seen
	if l.AcknowledgedBy != "" {
		acked = fmt.Sprintf("by %s at %s", l.AcknowledgedBy, stamp(l.AcknowledgedAt))
	}
	if !l.EscalatedAt.IsZero() {
		acked += ", escalated at " + stamp(l.EscalatedAt)
	}
	moved := fmt.Sprintf("not known, of %d", len(l.Groups))
	if l.Moved != nil {
		moved = fmt.Sprintf("%d of %d", *l.Moved, len(l.Groups))
		if len(l.Left) > 0 {
			moved += ", not " + strings.Join(l.Left, ", ")
		}
		if more := len(l.Groups) - *l.Moved - len(l.Left); more > 0 {
			moved += fmt.Sprintf(" and %d more", more)
		}
	}
	return []string{l.Team, groupList(l.Groups), told, acked, moved}
}

// TeamTable renders the teams; the Temporal UI shows it too.
func TeamTable(lines []TeamLine) string {
	var b strings.Builder
	b.WriteString("| team | groups | told | acknowledged | moved |\n|---|---|---|---|---|\n")
	for _, l := range lines {
		row := l.Row()
		for i := range row {
			row[i] = cell(row[i])
		}
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
	}
	return b.String()
}

// Decided is the decision, with the team that it speaks for.
func (s Signed) Decided() string {
	if s.Team == "" {
		return s.Decision
	}
	return s.Decision + " for team " + s.Team
}

package runbook

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A plan may have ten thousand groups and hundreds of teams, many of them in one channel
// of Slack, which takes one message a second.

// Ways are how groups move, by name.
type Ways map[string]string

// WaysOf groups of a plan.
func WaysOf(groups []Group) Ways {
	out := make(Ways, len(groups))
	for _, g := range groups {
		if out[g.Name] = g.Move; g.Move == "" {
			out[g.Name] = MoveWatch
		}
	}
	return out
}

// Mild tells whether a team need not be woken: the move is planned, and its clients
// move by themselves.
func (w Ways) Mild(t Team, operation string) bool {
	byHand, byName, _ := w.split(t)
	return operation != OpFailover && len(byHand)+len(byName) == 0
}

// split are a team's groups by who moves them.
func (w Ways) split(t Team) (byHand, byName, byThemselves []string) {
	for _, g := range t.Groups {
		switch w[g] {
		case "":
		case MovePage:
			byHand = append(byHand, g)
		case MoveRebootstrap:
			byName = append(byName, g)
		default:
			byThemselves = append(byThemselves, g)
		}
	}
	return byHand, byName, byThemselves
}

// TeamsByGroup is which team a group belongs to.
func (p Plan) TeamsByGroup() map[string]string {
	out := map[string]string{}
	for _, t := range p.Teams {
		for _, g := range t.Groups {
			out[g] = t.Name
		}
	}
	return out
}

// aloneInChannel is how many teams may share a channel and still have a message each: so
// many are through within a notification's time.
const aloneInChannel = 4

// Crowded are the channels of Slack that more teams share than could each have a message
// of its own there.
func Crowded(p Plan) map[string]bool {
	n, out := map[string]int{}, map[string]bool{}
	for _, t := range p.Teams {
		if c := p.Channels(t); c.Slack != nil {
			n[c.Slack.Channel]++
			if n[c.Slack.Channel] > aloneInChannel {
				out[c.Slack.Channel] = true
			}
		}
	}
	return out
}

// CrowdLine is what a message to many says of one team, by its place in the plan.
type CrowdLine struct {
	Team    int
	Text    string
	Mention []string
}

// CrowdLineOf says of a team's groups, a few by name, who moves them.
func CrowdLineOf(i int, t Team, ways Ways) CrowdLine {
	byHand, byName, byThemselves := ways.split(t)
	var parts []string
	for _, p := range []struct {
		how    string
		groups []string
	}{{"by hand", byHand}, {"by the moved DNS name", byName}, {"by themselves", byThemselves}} {
		if n := len(p.groups); n > 3 {
			parts = append(parts, fmt.Sprintf("%s %s and %d more", p.how, strings.Join(p.groups[:3], ", "), n-3))
		} else if n > 0 {
			parts = append(parts, p.how+" "+strings.Join(p.groups, ", "))
		}
	}
	l := CrowdLine{Team: i, Text: t.Name + ": " + strings.Join(parts, "; ")}
	if r := []rune(l.Text); len(r) > mostLine {
		l.Text = string(r[:mostLine]) + " …"
	}
	if t.Slack != nil {
		l.Mention = t.Slack.Mention
	}
	return l
}

// Crowd is one message to several teams that share a channel.
type Crowd struct {
	Text    string
	Teams   []int
	Mention []string
}

const (
	mostLine   = 400  // characters of a team
	mostCrowd  = 2500 // characters of a message; Slack cuts at 4,000, with mark-up
	mostCrowds = 10   // messages at a time: they are a second apart
)

// Crowds make messages of lines. Teams that no message names are left: the last one
// counts them.
func Crowds(pair string, lines []CrowdLine) (out []Crowd, left []int) {
	length := mostCrowd
	for n, l := range lines {
		size := utf8.RuneCountInString(l.Text) + 1
		for _, id := range l.Mention {
			size += len("<!subteam^> ") + len(id)
		}
		if length+size > mostCrowd {
			if len(out) == mostCrowds {
				for _, l := range lines[n:] {
					left = append(left, l.Team)
				}
				out[len(out)-1].Text += fmt.Sprintf("\n… and %d teams more: drctl status %s", len(left), pair)
				return out, left
			}
			out, length = append(out, Crowd{}), 0
		}
		c := &out[len(out)-1]
		if c.Text != "" {
			c.Text += "\n"
		}
		c.Text += l.Text
		c.Teams = append(c.Teams, l.Team)
		for _, id := range l.Mention {
			if !slices.Contains(c.Mention, id) {
				c.Mention = append(c.Mention, id)
			}
		}
		length += size
	}
	return out, nil
}

// CrowdTitle is of a message to n teams: that their clients move, or have moved; again:
// that nobody looks after them.
func CrowdTitle(n int, moved, again bool, to Site, operation, drill, pair string) string {
	switch {
	case moved:
		return fmt.Sprintf("%d teams: all their groups have moved to %s (%s of %s)", n, to.Name, why(operation, drill), pair)
	case again:
		return fmt.Sprintf("nobody has acknowledged for %d teams: their clients move to %s (%s of %s)", n, to.Name, why(operation, drill), pair)
	}
	return fmt.Sprintf("%d teams: their clients move to %s (%s of %s)", n, to.Name, why(operation, drill), pair)
}

func why(operation, drill string) string {
	if drill != "" {
		return drill + " drill, " + operation
	}
	return operation
}

// CrowdText says beside a message's lines what all of its teams are to know.
func CrowdText(p Plan, c Crowd, to Site, operation string, epoch int64, over, moved bool) string {
	if moved {
		return "on the evidence of both clusters:\n" + c.Text
	}
	text := fmt.Sprintf("pair %s is active at %s since epoch %d; clients that are moved by hand are stopped on the old site and started with the bootstrap servers %s\n%s\n",
		p.Pair, to.Name, epoch, strings.Join(to.Kafka.Bootstrap, ","), c.Text)
	if operation == OpFailover {
		text += "after a failover records may come again, and the last ones may be missing\n"
	}
	if over {
		return text + "the run ends now, and nobody can acknowledge it here any more"
	}
	return text + fmt.Sprintf("whoever looks after a team's: drctl acknowledge %s --team TEAM; all teams: drctl status %s", p.Pair, p.Pair)
}

// Moves are what was seen of the clients of a wave: of all groups where Rows has them,
// and else of those that have not moved.
type Moves struct {
	Rows []ClientMove
	// Moved groups, and those Left, that have no row.
	Moved int
	Left  []string
}

// CondenseMoves keeps as many rows as a history takes: those of groups that have not
// moved.
func CondenseMoves(all []ClientMove, limit int) Moves {
	if len(all) <= limit {
		return Moves{Rows: all}
	}
	m := Moves{Rows: []ClientMove{}}
	for _, row := range all {
		switch {
		case row.Moved:
			m.Moved++
		case len(m.Rows) < limit:
			m.Rows = append(m.Rows, row)
		default:
			m.Left = append(m.Left, row.Group)
		}
	}
	return m
}

// Note which groups of a wave have moved.
func (m Moves) Note(moved map[string]bool, wave []Group) {
	if m.Moved > 0 { // all but those that are told of
		for _, g := range wave {
			moved[g.Name] = true
		}
	}
	for _, g := range m.Left {
		moved[g] = false
	}
	for _, row := range m.Rows {
		moved[row.Group] = row.Moved
	}
}

// NamesOf groups.
func NamesOf(groups []Group) []string {
	out := make([]string, len(groups))
	for i, g := range groups {
		out[i] = g.Name
	}
	return out
}

// Called are the plan's people of a name: one, or none.
func (p Plan) Called(name string) []Person {
	return slices.DeleteFunc(slices.Clone(p.People), func(w Person) bool { return w.Name != name })
}

// TeamChannels are the teams with nothing but how they are told.
func (p Plan) TeamChannels() []Team {
	out := slices.Clone(p.Teams)
	for i := range out {
		out[i].Groups, out[i].People = nil, nil
	}
	return out
}

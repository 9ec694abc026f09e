package fakeslack

import (
	"fmt"
	"strings"
	"testing"
)

// Each limit, kept and broken by one: a fake that lets everything pass proves nothing.
func TestEachLimitOfBlockKitIsChecked(t *testing.T) {
	text := func(n int) string { return strings.Repeat("é", n) }
	mrkdwn := func(n int) string { return `{"type":"mrkdwn","text":"` + text(n) + `"}` }
	plain := func(n int) string { return `{"type":"plain_text","text":"` + text(n) + `"}` }
	times := func(n int, each func(i int) string) string {
		var all []string
		for i := range n {
			all = append(all, each(i))
		}
		return strings.Join(all, ",")
	}
	button := func(label, value, id int) string {
		return `{"type":"button","action_id":"` + text(id) + `","value":"` + text(value) + `","text":` + plain(label) + `}`
	}
	input := func(element string) string {
		return `{"type":"input","label":` + plain(3) + `,"element":` + element + `}`
	}
	option := func(n, value int) func(int) string {
		return func(int) string { return fmt.Sprintf(`{"text":%s,"value":"%s"}`, plain(n), text(value)) }
	}
	numbered := func(i int) string { return fmt.Sprintf(`{"text":%s,"value":"%d"}`, plain(1), i) }
	for _, c := range []struct {
		name  string
		block func(n int) string // what Slack takes up to most
		most  int
		modal bool
	}{
		{"blocks of a message", func(n int) string { return times(n, func(int) string { return `{"type":"divider"}` }) }, 50, false},
		{"blocks of a modal", func(n int) string { return times(n, func(int) string { return `{"type":"divider"}` }) }, 100, true},
		{"section", func(n int) string { return `{"type":"section","text":` + mrkdwn(n) + `}` }, 3000, false},
		{"fields", func(n int) string {
			return `{"type":"section","fields":[` + times(n, func(int) string { return mrkdwn(1) }) + `]}`
		}, 10, false},
		{"field", func(n int) string { return `{"type":"section","fields":[` + mrkdwn(n) + `]}` }, 2000, false},
		{"header", func(n int) string { return `{"type":"header","text":` + plain(n) + `}` }, 150, false},
		{"context", func(n int) string {
			return `{"type":"context","elements":[` + times(n, func(int) string { return mrkdwn(1) }) + `]}`
		}, 10, false},
		{"buttons", func(n int) string {
			return `{"type":"actions","elements":[` + times(n, func(i int) string { return button(1, 1, i+1) }) + `]}`
		}, 25, false},
		{"button's text", func(n int) string { return `{"type":"actions","elements":[` + button(n, 1, 1) + `]}` }, 75, false},
		{"button's value", func(n int) string { return `{"type":"actions","elements":[` + button(1, n, 1) + `]}` }, 2000, false},
		{"action id", func(n int) string { return `{"type":"actions","elements":[` + button(1, 1, n) + `]}` }, 255, false},
		{"block id", func(n int) string { return `{"type":"divider","block_id":"` + text(n) + `"}` }, 255, false},
		{"checkboxes", func(n int) string {
			return input(`{"type":"checkboxes","action_id":"a","options":[` + times(n, numbered) + `]}`)
		}, 10, true},
		{"select", func(n int) string {
			return input(`{"type":"static_select","action_id":"a","options":[` + times(n, numbered) + `]}`)
		}, 100, true},
		{"option", func(n int) string {
			return input(`{"type":"static_select","action_id":"a","options":[` + option(n, 1)(0) + `]}`)
		}, 75, true},
		{"option's value", func(n int) string {
			return input(`{"type":"static_select","action_id":"a","options":[` + option(1, n)(0) + `]}`)
		}, 150, true},
	} {
		if faults := CheckBlocks([]byte("["+c.block(c.most)+"]"), c.modal); len(faults) > 0 {
			t.Errorf("%s: %d is refused: %v", c.name, c.most, faults)
		}
		if faults := CheckBlocks([]byte("["+c.block(c.most+1)+"]"), c.modal); len(faults) == 0 {
			t.Errorf("%s: %d is taken", c.name, c.most+1)
		}
	}
	for name, raw := range map[string]string{
		"an empty section":      `[{"type":"section","text":{"type":"mrkdwn","text":""}}]`,
		"mark-up in a header":   `[{"type":"header","text":{"type":"mrkdwn","text":"a"}}]`,
		"an unknown block":      `[{"type":"marquee"}]`,
		"an unknown field":      `[{"type":"divider","colour":"red"}]`,
		"an input in a message": `[{"type":"input","label":{"type":"plain_text","text":"a"},"element":{"type":"plain_text_input","action_id":"a"}}]`,
		"an id twice":           `[{"type":"divider","block_id":"a"},{"type":"divider","block_id":"a"}]`,
		"no list":               `{}`,
		"an action id twice":    `[{"type":"actions","elements":[` + button(1, 1, 1) + `,` + button(1, 1, 1) + `]}]`,
	} {
		if len(CheckBlocks([]byte(raw), false)) == 0 {
			t.Errorf("%s is taken", name)
		}
	}
	for name, element := range map[string]string{
		"an option's value twice":    `{"type":"checkboxes","action_id":"a","options":[` + times(2, option(1, 1)) + `]}`,
		"mark-up in a select's text": `{"type":"static_select","action_id":"a","options":[{"text":` + mrkdwn(1) + `,"value":"a"}]}`,
	} {
		if len(CheckBlocks([]byte("["+input(element)+"]"), true)) == 0 {
			t.Errorf("%s is taken", name)
		}
	}
}

package fakeslack

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Block is a block, an element or a text object as it came, field by field.
type Block map[string]any

// Surfaces and how many blocks each may have.
const (
	inMessage = 50
	inModal   = 100
)

// maxText of a message; Slack cuts longer ones, and warns from here on.
const maxText = 4000

// checker gathers what is wrong with a payload.
type checker struct {
	faults []string
	ids    map[string]bool
}

func (c *checker) bad(where, format string, args ...any) {
	c.faults = append(c.faults, where+": "+fmt.Sprintf(format, args...))
}

// CheckBlocks tells what Slack would refuse in blocks, given as JSON, of a message (modal false) or a modal.
func CheckBlocks(raw []byte, modal bool) []string {
	_, faults := readBlocks(raw, modal)
	return faults
}

func readBlocks(raw []byte, modal bool) ([]Block, []string) {
	var blocks []Block
	if err := json.Unmarshal(raw, &blocks); err != nil {
		return nil, []string{"blocks are no list of objects: " + err.Error()}
	}
	c := &checker{ids: map[string]bool{}}
	most := inMessage
	if modal {
		most = inModal
	}
	if len(blocks) > most {
		c.bad("blocks", "%d, at most %d", len(blocks), most)
	}
	for i, b := range blocks {
		c.block(fmt.Sprintf("blocks[%d]", i), b, modal)
	}
	return blocks, c.faults
}

func (c *checker) block(at string, b Block, modal bool) {
	if id := str(b, "block_id"); id != "" {
		c.length(at+".block_id", id, 255)
		if c.ids[id] {
			c.bad(at+".block_id", "%q is there twice", id)
		}
		c.ids[id] = true
	}
	switch kind := str(b, "type"); kind {
	case "section":
		c.only(at, b, "text", "fields", "accessory", "expand")
		fields := list(b, "fields")
		if b["text"] == nil && len(fields) == 0 {
			c.bad(at, "a section has text or fields")
		}
		if b["text"] != nil {
			c.text(at+".text", b["text"], 3000, false)
		}
		c.most(at+".fields", len(fields), 10)
		for i, f := range fields {
			c.text(fmt.Sprintf("%s.fields[%d]", at, i), f, 2000, false)
		}
		if b["accessory"] != nil {
			c.element(at+".accessory", b["accessory"], "button", "static_select")
		}
	case "header":
		c.only(at, b, "text", "level")
		c.text(at+".text", b["text"], 150, true)
	case "divider":
		c.only(at, b)
	case "context":
		c.only(at, b, "elements")
		c.some(at+".elements", list(b, "elements"), 10, func(at string, v any) { c.text(at, v, 3000, false) })
	case "actions":
		c.only(at, b, "elements")
		actions := map[string]bool{}
		c.some(at+".elements", list(b, "elements"), 25, func(at string, v any) {
			c.element(at, v, "button", "static_select")
			e, _ := v.(map[string]any)
			if id := str(e, "action_id"); actions[id] {
				c.bad(at+".action_id", "%q is there twice in its block", id)
			} else {
				actions[id] = true
			}
		})
	case "input":
		c.only(at, b, "label", "element", "hint", "optional", "dispatch_action")
		if !modal {
			c.bad(at, "the fake takes inputs in modals only")
		}
		c.text(at+".label", b["label"], 2000, true)
		if b["hint"] != nil {
			c.text(at+".hint", b["hint"], 2000, true)
		}
		c.element(at+".element", b["element"], "plain_text_input", "static_select", "checkboxes")
	default:
		c.bad(at, "no block of type %q is known here", kind)
	}
}

func (c *checker) element(at string, v any, kinds ...string) {
	e, ok := v.(map[string]any)
	kind := str(e, "type")
	if !ok || !slices.Contains(kinds, kind) {
		c.bad(at, "%q is no element for this place", kind)
		return
	}
	id := str(e, "action_id")
	if id == "" {
		c.bad(at+".action_id", "missing: nobody could answer it")
	}
	c.length(at+".action_id", id, 255)
	if e["confirm"] != nil {
		c.confirm(at+".confirm", e["confirm"])
	}
	if e["placeholder"] != nil {
		c.text(at+".placeholder", e["placeholder"], 150, true)
	}
	switch kind {
	case "button":
		c.only(at, e, "action_id", "text", "value", "style", "confirm", "url", "accessibility_label")
		c.text(at+".text", e["text"], 75, true)
		c.length(at+".value", str(e, "value"), 2000)
		if s := str(e, "style"); s != "" && s != "primary" && s != "danger" {
			c.bad(at+".style", "%q", s)
		}
	case "plain_text_input":
		c.only(at, e, "action_id", "placeholder", "initial_value", "multiline", "min_length", "max_length", "focus_on_load", "dispatch_action_config")
		c.length(at+".initial_value", str(e, "initial_value"), 3000)
		if n, ok := e["max_length"].(float64); ok && (n < 1 || n > 3000) {
			c.bad(at+".max_length", "%v", n)
		}
	case "static_select":
		c.only(at, e, "action_id", "placeholder", "options", "initial_option", "confirm", "focus_on_load")
		c.options(at, list(e, "options"), 100, true)
	case "checkboxes":
		c.only(at, e, "action_id", "options", "initial_options", "confirm", "focus_on_load")
		c.options(at, list(e, "options"), 10, false)
	}
}

// options of a select or of checkboxes; plain: without mark-up. Two of one value could not be told apart.
func (c *checker) options(at string, options []any, most int, plain bool) {
	values := map[string]bool{}
	c.some(at+".options", options, most, func(at string, v any) {
		o, _ := v.(map[string]any)
		c.text(at+".text", o["text"], 75, plain)
		if values[str(o, "value")] {
			c.bad(at+".value", "%q is there twice", str(o, "value"))
		}
		values[str(o, "value")] = true
		if str(o, "value") == "" {
			c.bad(at+".value", "missing")
		}
		c.length(at+".value", str(o, "value"), 150)
		if o["description"] != nil {
			c.text(at+".description", o["description"], 75, plain)
		}
	})
}

func (c *checker) confirm(at string, v any) {
	o, _ := v.(map[string]any)
	c.text(at+".title", o["title"], 100, true)
	c.text(at+".text", o["text"], 300, false)
	c.text(at+".confirm", o["confirm"], 30, true)
	c.text(at+".deny", o["deny"], 30, true)
}

// text checks a text object; plain: mrkdwn is refused there.
func (c *checker) text(at string, v any, most int, plain bool) {
	o, ok := v.(map[string]any)
	if !ok {
		c.bad(at, "no text object")
		return
	}
	kind := str(o, "type")
	if kind != "plain_text" && kind != "mrkdwn" || plain && kind != "plain_text" {
		c.bad(at, "type %q is not taken here", kind)
	}
	c.only(at, o, "text", "emoji", "verbatim")
	if str(o, "text") == "" {
		c.bad(at, "empty")
	}
	c.length(at, str(o, "text"), most)
}

func (c *checker) length(at, s string, most int) {
	if n := utf8.RuneCountInString(s); n > most {
		c.bad(at, "%d characters, at most %d: %.40q…", n, most, s)
	}
	if !utf8.ValidString(s) {
		c.bad(at, "no UTF-8")
	}
}

func (c *checker) most(at string, n, most int) {
	if n > most {
		c.bad(at, "%d, at most %d", n, most)
	}
}

func (c *checker) some(at string, l []any, most int, each func(string, any)) {
	if len(l) == 0 {
		c.bad(at, "none")
	}
	c.most(at, len(l), most)
	for i, v := range l {
		each(fmt.Sprintf("%s[%d]", at, i), v)
	}
}

// only refuses fields that Slack does not know; type and block_id are always known.
func (c *checker) only(at string, b map[string]any, known ...string) {
	for k := range b {
		if k != "type" && k != "block_id" && !slices.Contains(known, k) {
			c.bad(at, "unknown field %q", k)
		}
	}
}

func str(b map[string]any, key string) string {
	s, _ := b[key].(string)
	return s
}

func list(b map[string]any, key string) []any {
	l, _ := b[key].([]any)
	return l
}

// Text is all text of blocks, a line each, as somebody would read it.
func Text(blocks []Block) string {
	var out strings.Builder
	for _, b := range blocks {
		gather(&out, map[string]any(b))
	}
	return out.String()
}

func gather(out *strings.Builder, v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			gather(out, e)
		}
	case map[string]any:
		if s, ok := v["text"].(string); ok {
			out.WriteString(s + "\n")
		}
		for _, k := range []string{"text", "fields", "label", "hint", "elements", "element", "accessory", "options", "description"} {
			if _, isText := v[k].(string); !isText && v[k] != nil {
				gather(out, v[k])
			}
		}
	}
}

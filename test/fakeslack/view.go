package fakeslack

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// View is a modal dialog.
type View struct {
	ID, User string
	Callback string
	Metadata string
	Title    string
	Submit   string
	Blocks   []Block
	hash     string
	number   int
	open     bool
}

// readView checks a view as Slack would.
func readView(raw json.RawMessage) (View, string) {
	var in map[string]any
	if err := json.Unmarshal(raw, &in); err != nil {
		return View{}, "invalid_arguments: " + err.Error()
	}
	c := &checker{ids: map[string]bool{}}
	c.only("view", in, "title", "blocks", "close", "submit", "private_metadata", "callback_id", "clear_on_close", "notify_on_close", "external_id", "submit_disabled")
	if str(in, "type") != "modal" {
		c.bad("view", "type %q", str(in, "type"))
	}
	c.text("view.title", in["title"], 24, true)
	for _, k := range []string{"submit", "close"} {
		if in[k] != nil {
			c.text("view."+k, in[k], 24, true)
		}
	}
	c.length("view.private_metadata", str(in, "private_metadata"), 3000)
	c.length("view.callback_id", str(in, "callback_id"), 255)
	list, err := json.Marshal(in["blocks"])
	if err != nil {
		c.bad("view.blocks", "%v", err)
	}
	blocks, faults := readBlocks(list, true)
	v := View{Callback: str(in, "callback_id"), Metadata: str(in, "private_metadata"), Blocks: blocks}
	if t, ok := in["title"].(map[string]any); ok {
		v.Title = str(t, "text")
	}
	if t, ok := in["submit"].(map[string]any); ok {
		v.Submit = str(t, "text")
	}
	for _, b := range blocks {
		if str(b, "type") == "input" && v.Submit == "" {
			c.bad("view", "it has inputs and no submit")
		}
	}
	if faults = append(c.faults, faults...); len(faults) > 0 {
		return v, "invalid_arguments: " + strings.Join(faults, "; ")
	}
	return v, ""
}

func (s *Slack) openView(c call) (map[string]any, string) {
	v, problem := readView(c.args["view"])
	s.mu.Lock()
	defer s.mu.Unlock()
	t, known := s.triggers[c.text("trigger_id")]
	switch {
	case problem != "":
		return nil, problem
	case !known:
		return nil, "exchanged_trigger_id: unknown, or used before"
	case time.Now().After(t.till):
		return nil, fmt.Sprintf("expired_trigger_id: a trigger id is good for %s", s.Patience)
	}
	delete(s.triggers, c.text("trigger_id"))
	v.number = s.next()
	v.ID, v.User, v.hash, v.open = fmt.Sprintf("V%d", v.number), t.user, fmt.Sprintf("h%d", v.number), true
	s.views[v.ID] = &v
	return map[string]any{"view": v.json()}, ""
}

func (s *Slack) updateView(c call) (map[string]any, string) {
	v, problem := readView(c.args["view"])
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.views[c.text("view_id")]
	switch {
	case problem != "":
		return nil, problem
	case old == nil:
		return nil, "not_found: " + c.text("view_id")
	case !old.open:
		return nil, closed
	case c.text("hash") != "" && c.text("hash") != old.hash:
		return nil, "hash_conflict"
	}
	old.become(v)
	old.hash = fmt.Sprintf("h%d", s.next())
	return map[string]any{"view": old.json()}, ""
}

func (v *View) become(n View) {
	v.Callback, v.Metadata, v.Title, v.Submit, v.Blocks = n.Callback, n.Metadata, n.Title, n.Submit, n.Blocks
}

func (v *View) json() map[string]any {
	return map[string]any{
		"id": v.ID, "type": "modal", "team_id": Team, "callback_id": v.Callback, "private_metadata": v.Metadata, "hash": v.hash,
		"title": map[string]any{"type": "plain_text", "text": v.Title}, "blocks": v.Blocks,
	}
}

// state is what a user has filled in: by block id a text, or values of options. It says what the dialog would not have let pass.
func (v *View) state(filled map[string][]string) (map[string]any, error) {
	values, used := map[string]any{}, map[string]bool{}
	for _, b := range v.Blocks {
		if str(b, "type") != "input" {
			continue
		}
		id := str(b, "block_id")
		e, _ := b["element"].(map[string]any)
		got := filled[id]
		used[id] = true
		optional, _ := b["optional"].(bool)
		if len(got) == 0 && !optional {
			return nil, fmt.Errorf("the dialog %q does not let %s be empty", v.Title, id)
		}
		state := map[string]any{"type": str(e, "type")}
		switch str(e, "type") {
		case "plain_text_input":
			if len(got) > 0 {
				state["value"] = got[0]
			}
		case "static_select":
			for _, g := range got {
				o, err := option(e, g)
				if err != nil {
					return nil, err
				}
				state["selected_option"] = o
			}
		case "checkboxes":
			chosen := []any{}
			for _, g := range got {
				o, err := option(e, g)
				if err != nil {
					return nil, err
				}
				chosen = append(chosen, o)
			}
			state["selected_options"] = chosen
		}
		values[id] = map[string]any{str(e, "action_id"): state}
	}
	for id := range filled {
		if !used[id] {
			return nil, fmt.Errorf("the dialog %q has no input %s", v.Title, id)
		}
	}
	return map[string]any{"values": values}, nil
}

func option(e map[string]any, value string) (any, error) {
	for _, o := range list(e, "options") {
		if m, ok := o.(map[string]any); ok && str(m, "value") == value {
			return o, nil
		}
	}
	return nil, fmt.Errorf("%s has no option %q", str(e, "action_id"), value)
}

package fakeslack

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Command is a user who types "/dr text" in a channel.
func (s *Slack) Command(ctx context.Context, user, channel, text string) error {
	p := map[string]any{
		"team_id": Team, "user_id": user, "user_name": "name-of-" + user, "channel_id": channel, "command": "/dr", "text": text,
		"trigger_id": s.trigger(user), "response_url": s.hook(user), "api_app_id": "A0FAKE",
	}
	raw, err := s.deliver(ctx, "slash_commands", p)
	if err == nil && len(raw) > 0 && string(raw) != "null" {
		s.fault("a command was answered at once with %s: the app answers by the response URL", raw)
	}
	return err
}

// Click is a user who clicks the button of a message; what is not there cannot be clicked.
func (s *Slack) Click(ctx context.Context, user string, m Message, action string) error {
	for _, b := range m.Blocks {
		elements := list(b, "elements")
		if a := b["accessory"]; a != nil {
			elements = append(elements, a)
		}
		for _, e := range elements {
			if el, ok := e.(map[string]any); ok && str(el, "action_id") == action && str(b, "type") != "context" {
				return s.click(ctx, user, m, str(b, "block_id"), el)
			}
		}
	}
	return fmt.Errorf("message %s has no button %q", m.TS, action)
}

func (s *Slack) click(ctx context.Context, user string, m Message, block string, el map[string]any) error {
	p := map[string]any{
		"type": "block_actions", "team": map[string]any{"id": Team}, "user": map[string]any{"id": user, "team_id": Team}, "api_app_id": "A0FAKE",
		"trigger_id": s.trigger(user), "response_url": s.hook(user), "channel": map[string]any{"id": m.Channel},
		"container": map[string]any{"type": "message", "message_ts": m.TS, "channel_id": m.Channel},
		"message":   map[string]any{"type": "message", "ts": m.TS, "text": m.Text},
		"actions": []any{map[string]any{
			"type": str(el, "type"), "action_id": str(el, "action_id"), "block_id": block, "value": str(el, "value"),
			"text": el["text"], "action_ts": fmt.Sprintf("%d.1", time.Now().Unix()),
		}},
	}
	_, err := s.deliver(ctx, "interactive", p)
	return err
}

// Submit is a user who fills in a dialog, by block id, and submits it. Errors are what the app says of the inputs, by block id.
func (s *Slack) Submit(ctx context.Context, v View, filled map[string][]string) (errs map[string]string, err error) {
	state, err := v.state(filled)
	if err != nil {
		return nil, err
	}
	shown := v.json()
	shown["state"] = state
	p := map[string]any{
		"type": "view_submission", "team": map[string]any{"id": Team}, "user": map[string]any{"id": v.User, "team_id": Team}, "api_app_id": "A0FAKE",
		"trigger_id": s.trigger(v.User), "view": shown,
	}
	raw, err := s.deliver(ctx, "interactive", p)
	if err != nil {
		return nil, err
	}
	var said struct {
		Action string            `json:"response_action"`
		Errors map[string]string `json:"errors"`
		View   json.RawMessage   `json:"view"`
	}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &said); err != nil {
			return nil, fmt.Errorf("answer to a submission: %w: %s", err, raw)
		}
	}
	return said.Errors, s.submitted(v, said.Action, said.Errors, said.View)
}

func (s *Slack) submitted(v View, action string, errs map[string]string, raw json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := s.views[v.ID]
	switch action {
	case "":
		mine.open = false
	case "errors":
		for id := range errs {
			if !hasBlock(v.Blocks, id) {
				s.wrong = append(s.wrong, fmt.Sprintf("an error for block %q, which the dialog does not have", id))
			}
		}
	case "update":
		n, problem := readView(raw)
		if problem != "" {
			s.wrong = append(s.wrong, "answer to a submission: "+problem)
			return nil
		}
		mine.become(n)
	default:
		return fmt.Errorf("response_action %q is not known", action)
	}
	return nil
}

func hasBlock(blocks []Block, id string) bool {
	for _, b := range blocks {
		if str(b, "block_id") == id && str(b, "type") == "input" {
			return true
		}
	}
	return false
}

func (s *Slack) trigger(user string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := fmt.Sprintf("%d.trigger", s.next())
	s.triggers[id] = trigger{user: user, till: time.Now().Add(s.Patience)}
	return id
}

func (s *Slack) hook(user string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := strconv.Itoa(s.next())
	s.hooks[id] = &hook{user: user}
	return s.url() + "/hook/" + id
}

// deliver brings a payload to the app, by its sockets or to its request URL.
func (s *Slack) deliver(ctx context.Context, kind string, payload map[string]any) (json.RawMessage, error) {
	s.mu.Lock()
	to := s.requests
	s.mu.Unlock()
	if to == "" {
		return s.envelope(kind, payload)
	}
	req, err := s.Request(ctx, to, kind, payload, time.Now())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	res, err := http.DefaultClient.Do(req.WithContext(ctx))
	if err != nil {
		s.fault("%s was not answered in %s: %v", kind, s.Patience, err)
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", kind, res.Status, body)
	}
	return body, err
}

// Request is what Slack would send to a request URL at a time, signed.
func (s *Slack) Request(ctx context.Context, to, kind string, payload map[string]any, at time.Time) (*http.Request, error) {
	form := url.Values{}
	if kind == "slash_commands" {
		to += "/slack/commands"
		for k, v := range payload {
			form.Set(k, fmt.Sprint(v))
		}
	} else {
		to += "/slack/interactions"
		raw, err := json.Marshal(payload)
		if err != nil {
			return nil, err
		}
		form.Set("payload", string(raw))
	}
	body := []byte(form.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(Secret))
	fmt.Fprintf(mac, "v0:%s:%s", stamp, body)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Slack-Request-Timestamp", stamp)
	req.Header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
	return req, nil
}
